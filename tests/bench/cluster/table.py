"""Rows of a benchmark: what, how much, and what was promised; as a table and as JSON."""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure; `must` and `aim` are bounds, None where there is none."""

    name: str  # in JSON
    what: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None
    at_least: bool = False  # larger is better

    @property
    def verdict(self) -> str:
        """How it stands against its bounds, in words."""
        if self.must is None:
            return ""
        sign = "≥" if self.at_least else "≤"
        aim = "" if self.aim is None else f", aim {sign} {self.aim:g}"
        return f"{'ok' if self._holds(self.must) else 'MISSED'}: must {sign} {self.must:g}{aim}" + (
            " (met)" if self.aim is not None and self._holds(self.aim) else ""
        )

    def _holds(self, bound: float) -> bool:
        return self.value >= bound if self.at_least else self.value <= bound


def options(description: str | None) -> argparse.ArgumentParser:
    """What all benchmarks take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path)
    return parser


def show(title: str, rows: list[Row], file: Path | None) -> None:
    """Print the table, and write the JSON where it was asked for."""
    print(title)
    width = max(len(row.what) for row in rows)
    for row in rows:
        print(f"  {row.what:<{width}}  {row.value:>9.4g} {row.unit:<12} {row.verdict}", flush=True)
    if file is not None:
        file.write_text(json.dumps([asdict(row) for row in rows], indent=2))


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
