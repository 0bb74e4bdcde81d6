"""What an application may send to `POST /slo`, checked."""

import math

import msgspec

from mbcasd.errors import BrokenInput
from mbcasd.model.slo import SloReport

_LONGEST_NAME = 512
_LONGEST_MS = 3_600_000.0  # an hour; more is a mistake in the unit


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    workload: str
    p99_ms: float | None = None
    violated: bool | None = None


def parse_slo(body: bytes) -> SloReport:
    """Turn `{"workload": "shop/web", "p99_ms": 120}` or `{…, "violated": true}` into a report.

    Raises:
        BrokenInput: It is not that; the message names the field and says what would be.
    """
    try:
        written = msgspec.json.decode(body, type=_Written)
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise BrokenInput(f'{err}; send {{"workload": "shop/web", "p99_ms": 120}} or {{…, "violated": true}}') from err
    if not 0 < len(written.workload) <= _LONGEST_NAME:
        raise BrokenInput(f"workload must be a name of 1 to {_LONGEST_NAME} characters")
    if (written.p99_ms is None) == (written.violated is None):
        raise BrokenInput("say either p99_ms or violated, and not both")
    p99_ms = written.p99_ms
    if p99_ms is not None and not (math.isfinite(p99_ms) and 0 <= p99_ms <= _LONGEST_MS):
        raise BrokenInput(f"p99_ms {p99_ms:g} must be a number of milliseconds between 0 and {_LONGEST_MS:g}")
    return SloReport(
        workload=written.workload, p99_s=None if p99_ms is None else p99_ms / 1000, violated=written.violated
    )
