"""What `make` calls: python -m cluster build."""

import argparse
import sys

from cluster import programs


def main() -> int:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    parser.add_argument("action", choices=["build"])
    parser.parse_args()
    return _build()


def _build() -> int:
    for tools in (programs.NEWEST, programs.OLDEST):
        if programs.not_built(tools):
            print(
                f"==> building Kubernetes {programs.kubernetes_version(tools)} (ten minutes from nothing)", flush=True
            )
        try:
            programs.build(tools)
        except programs.BuildError as err:
            print(err, file=sys.stderr)
            return 1
    return 0


sys.exit(main())
