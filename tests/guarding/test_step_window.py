"""Time and step bounds stand in a window for the solver."""

from mbcasd.guarding.window import Window, window
from mbcasd.model.decision import HeldBy
from mbcasd.settings import ResizeSettings


def a_window(*, may_lower: bool = True, may_raise: bool = True) -> Window:
    return window(1000.0, ResizeSettings(), may_lower=may_lower, may_raise=may_raise)


def test_one_resize_at_most_doubles_or_halves() -> None:
    assert a_window()[:2] == (500, 2000)


def test_the_cooldown_blocks_decreases_only() -> None:
    held = a_window(may_lower=False)

    assert held[:2] == (1000, 2000)
    assert held.lower_by is HeldBy.COOLDOWN


def test_the_gap_between_raises_blocks_increases_only() -> None:
    assert a_window(may_raise=False)[:2] == (500, 1000)
