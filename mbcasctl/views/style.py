"""What colours mean, in one place. Never colour alone: each standing has a mark and a word of its own."""

from enum import Enum

from rich.text import Text

from mbcasctl.views.text import Glyphs, known
from mbcasd.model.decision import HeldBy
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot

TITLE = "bold"
QUIET = "dim"
KEY = "bold"
GOOD = "green"
HELD = "yellow"
BAD = "red"

# The figure gets its colour at the usual throttling target of 5 %; twice of it is felt by whoever waits.
FELT_RATIO = 0.10
TARGET_RATIO = 0.05

# What holds a workload below its need although it wants more.
_BOUNDS = {
    held.value
    for held in (HeldBy.PRICE, HeldBy.CAP, HeldBy.STEP, HeldBy.COOLDOWN, HeldBy.GUARD, HeldBy.PENDING, HeldBy.OWNER)
}


class Standing(Enum):
    """How a workload does; the value is its colour."""

    FINE = GOOD  # has what it needs
    HELD = HELD  # would take more, but a bound holds it
    SUFFERING = BAD  # throttled so much that it is felt
    NOT_MANAGED = QUIET

    def mark(self, glyphs: Glyphs) -> str:
        """One cell in front of the name."""
        return {Standing.FINE: " ", Standing.HELD: "~", Standing.SUFFERING: "!", Standing.NOT_MANAGED: glyphs.dot}[self]


def standing(row: WorkloadSnapshot) -> Standing:
    """How this workload does now."""
    if not row.managed:
        return Standing.NOT_MANAGED
    if (known(row.throttled_ratio) or 0.0) > FELT_RATIO:
        return Standing.SUFFERING
    need_milli, limit_milli = known(row.need_milli), known(row.limit_milli)
    short = need_milli is not None and limit_milli is not None and need_milli > limit_milli
    return Standing.HELD if short and row.held_by in _BOUNDS else Standing.FINE


def throttling(ratio: float | None) -> str:
    """The colour of a throttled ratio."""
    ratio = known(ratio) or 0.0
    return BAD if ratio > FELT_RATIO else HELD if ratio > TARGET_RATIO else ""


def market(snapshot: NodeSnapshot) -> str:
    """The colour of the market's mode."""
    return {"uncongested": GOOD, "congested": HELD, "overloaded": BAD}.get(snapshot.market_mode or "", QUIET)


def line(words: str = "", colour: str = "") -> Text:
    """One line of a screen, to be appended to; it never wraps."""
    return Text(words, style=colour, no_wrap=True, overflow="crop")
