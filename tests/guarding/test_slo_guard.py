"""The slow rule: what a latency may move, how far, and how often."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.guarding import slo
from mbcasd.guarding.slo import Slo, Verdict
from mbcasd.model.demand import Contract, WorkloadClass
from mbcasd.model.slo import LatencyReading, LatencySourceKind
from mbcasd.settings import GuardrailSettings

GUARD = GuardrailSettings()
OBJECTIVE_S = 0.1
TARGET = 0.05


def a_reading(at_s: float, p99_s: float | None = 0.05, *, violated: bool | None = None) -> LatencyReading:
    return LatencyReading(at_s, LatencySourceKind.PROMETHEUS, p99_s, violated)


def play(*readings: LatencyReading, target: float = TARGET, counted=None) -> list[tuple[float, Slo, Verdict | None]]:
    """Let the rule look every 2 s from the first reading until 60 s after the last."""
    told, known, left = [], None, list(readings)
    now_s = readings[0].read_at_s
    while now_s < readings[-1].read_at_s + 60:
        while left and left[0].read_at_s <= now_s:
            counts = counted(left[0].read_at_s) if counted else None
            known = slo.take(known, left.pop(0), OBJECTIVE_S, counts, GUARD)
        known, verdict = slo.decide(known, OBJECTIVE_S, target, GUARD, now_s)
        told.append((now_s, known, verdict))
        now_s += 2
    return told


def every_15_s(p99_s: float, until_s: float, *, since_s: float = 0) -> list[LatencyReading]:
    return [a_reading(since_s + 15 * i, p99_s) for i in range(int((until_s - since_s) // 15) + 1)]


def moves(told) -> list[tuple[float, float]]:
    """When the leniency moved, and to what."""
    found, before = [], 1.0
    for now_s, known, _ in told:
        if known.leniency != before:
            found.append((now_s, known.leniency))
        before = known.leniency
    return found


def test_a_violation_halves_the_leniency_once_per_period() -> None:
    told = play(*every_15_s(0.2, 100))

    # At once, then every 30 s: 1 × ½ × ½ × ½, and no further than 0.5 % of 5 %.
    assert moves(told) == [(0, 0.5), (30, 0.25), (60, 0.125), (90, pytest.approx(0.1))]
    assert told[-1][1].violations >= 4


def test_much_room_for_a_whole_period_raises_it_by_a_tenth() -> None:
    told = play(*every_15_s(0.05, 100))

    assert moves(told) == [(30, pytest.approx(1.1)), (60, pytest.approx(1.21)), (90, pytest.approx(1.331))]


def test_between_seven_tenths_and_the_objective_nothing_moves() -> None:
    assert moves(play(*every_15_s(0.09, 300))) == []


def test_one_reading_without_room_begins_the_wait_anew() -> None:
    told = play(a_reading(0), a_reading(15), a_reading(25, 0.09), a_reading(40), a_reading(55), a_reading(70))

    assert moves(told)[0][0] == 70


def test_the_leniency_ends_at_a_throttling_of_a_half_and_of_a_third_of_the_guards_trigger() -> None:
    tight, loose = play(*every_15_s(9, 600)), play(*every_15_s(0.001, 3000))

    assert tight[-1][1].leniency == pytest.approx(0.005 / 0.05)
    # 20 % is allowed, but the fast guard fires at 50 %: a third of that is less.
    assert loose[-1][1].leniency == pytest.approx(0.5 / 3 / 0.05)


def test_a_target_set_beyond_the_bounds_is_not_moved_back() -> None:
    assert moves(play(*every_15_s(9, 100), target=0.003)) == []
    assert moves(play(*every_15_s(0.001, 100), target=0.3)) == []


def test_without_a_fresh_reading_nothing_moves() -> None:
    told = play(a_reading(0, 0.2), a_reading(200, 0.2))

    assert [at_s for at_s, _ in moves(told)] == [0, 200]
    # What was learned stays, however long nobody speaks.
    assert all(known.leniency == 0.5 for now_s, known, _ in told if 0 < now_s < 200)


def test_room_from_before_a_silence_does_not_count() -> None:
    told = play(a_reading(0), a_reading(100), a_reading(115), a_reading(130))

    assert moves(told) == [(130, pytest.approx(1.1))]


def test_one_reading_moves_it_once_only() -> None:
    assert len(moves(play(a_reading(0, 0.2)))) == 1


def test_who_only_says_that_it_is_kept_gets_no_more_leniency() -> None:
    told = play(*(a_reading(15 * i, None, violated=False) for i in range(20)))

    assert moves(told) == []


def test_who_says_that_it_is_violated_is_believed() -> None:
    told = play(a_reading(0, None, violated=True))

    assert moves(told) == [(0, 0.5)]


def test_a_violation_without_any_throttling_is_counted_and_moves_nothing() -> None:
    # 100 periods between two readings, none throttled; of the first nothing is known, so it counts as a reason.
    told = play(*every_15_s(0.2, 100), counted=lambda at_s: (int(at_s * 10), 0))

    assert moves(told) == [(0, 0.5)]
    assert told[-1][1].violations >= 3
    assert not slo.may_help(told[-1][1])


def test_a_violation_with_throttling_moves_it() -> None:
    told = play(*every_15_s(0.2, 40), counted=lambda at_s: (int(at_s * 10), int(at_s)))

    assert [leniency for _, leniency in moves(told)][:2] == [0.5, 0.25]
    assert told[-1][1].throttled_ratio == pytest.approx(0.1)


def test_the_limit_is_held_while_it_is_violated_and_for_the_cooldown() -> None:
    told = play(a_reading(0, 0.2), a_reading(20, 0.09), a_reading(100, 0.09))
    held = [now_s for now_s, known, _ in told if slo.least_need_milli(known, 700, GUARD, now_s)]

    # Seen violated at 0 … 18 s; 30 s from then.
    assert held == list(range(0, 48, 2))
    assert slo.least_need_milli(None, 700, GUARD, 0) == 0


def test_the_end_of_a_violation_is_told_once() -> None:
    told = play(a_reading(0, 0.2), a_reading(10, 0.09), a_reading(20, 0.09))

    assert [verdict for _, _, verdict in told if verdict] == [Verdict.VIOLATED, Verdict.KEPT]


def test_without_anything_to_compare_with_there_is_no_verdict() -> None:
    assert slo.verdict(a_reading(0, 0.2), None) is None
    assert slo.verdict(a_reading(0, None), 0.1) is None


def test_the_objective_is_the_owners_or_the_general_one_but_none_for_batch() -> None:
    plain = Contract(floor_milli=1, cap_milli=2)
    batch = Contract(floor_milli=1, cap_milli=2, workload_class=WorkloadClass.BATCH)
    named = Contract(floor_milli=1, cap_milli=2, workload_class=WorkloadClass.BATCH, slo_p99_s=2.0)

    assert [slo.objective_s(contract, GUARD) for contract in (plain, batch, named)] == [0.1, None, 2.0]


@given(
    readings=st.lists(
        st.tuples(st.floats(0, 100), st.one_of(st.none(), st.floats(0, 10)), st.sampled_from([None, True, False])),
        min_size=1,
        max_size=60,
    ),
    target=st.floats(0.001, 0.3),
)
def test_whatever_is_read_the_leniency_stays_in_bounds_and_moves_once_per_period(readings, target) -> None:
    at_s, seen = 0.0, []
    for gap_s, p99_s, violated in readings:
        at_s += gap_s
        seen.append(a_reading(at_s, p99_s, violated=violated))

    told = play(*seen, target=target)

    for _, known, _ in told:
        assert min(1, 0.005 / target) - 1e-9 <= known.leniency <= max(1, 0.5 / 3 / target) + 1e-9
    moved_at_s = [moved_s for moved_s, _ in moves(told)]
    assert all(later - earlier >= 29.98 for earlier, later in itertools.pairwise(moved_at_s))
