"""Text that people read, compared with a file; MBCAS_UPDATE_GOLDEN=1 writes the files anew, for a look at the diff."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "golden"


def check_golden(name: str, text: str) -> None:
    """Compare with `tests/data/golden/NAME`."""
    file = FOLDER / name
    if os.environ.get("MBCAS_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"{file} is missing: run with MBCAS_UPDATE_GOLDEN=1 and look at it"
    assert text == file.read_text(encoding="utf-8"), (
        f"{file.name} differs: if it should, run with MBCAS_UPDATE_GOLDEN=1"
    )
