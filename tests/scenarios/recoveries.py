"""How long MBCAS took to be right again after a fault: noted by tests, shown as a table in pytest's last words."""

from typing import NamedTuple


class Recovery(NamedTuple):
    """One measurement."""

    who: str  # what was hit: "controller", "agent", …
    fault: str
    took_s: float  # from the end of the fault, or from the fault where it does not end
    busiest_second: int | None  # most requests and connections in any second while it lasted; None: not counted


_noted: list[Recovery] = []


def note(who: str, fault: str, took_s: float, busiest_second: int | None = None) -> None:
    """Keep one for the table."""
    _noted.append(Recovery(who, fault, took_s, busiest_second))


def table() -> list[str]:
    """The lines of the table; none when nothing was measured."""
    if not _noted:
        return []
    lines = ["recovery times: from the end of a fault until everything is right again"]
    lines += [
        f"  {one.who:<12} {one.fault:<44} {one.took_s:6.1f} s"
        + ("" if one.busiest_second is None else f"   at most {one.busiest_second} requests in a second")
        for one in _noted
    ]
    return lines
