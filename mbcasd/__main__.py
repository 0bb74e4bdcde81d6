"""`python -m mbcasd`."""

from mbcasd.cli import main

if __name__ == "__main__":
    main()
