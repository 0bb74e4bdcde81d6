"""The deadline grid."""

from mbcasd.drivers.loop import Grid


def test_deadlines_stay_on_the_grid_however_late_a_pass_is() -> None:
    grid = Grid(10.0, 1.0)

    assert grid.is_due(10.0)
    assert not grid.is_due(10.9)
    assert grid.is_due(11.4)
    assert grid.due_s == 12.0


def test_missed_deadlines_are_counted_and_skipped() -> None:
    grid = Grid(0.0, 1.0)

    assert grid.is_due(3.5)
    assert grid.missed == 3
    assert grid.due_s == 4.0
    assert not grid.is_due(3.9)
