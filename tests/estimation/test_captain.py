import pytest
from seen import Container, law_settings

from mbcasd.estimation import captain
from mbcasd.model.demand import Advice
from mbcasd.settings import CostSettings


def a_container(limit: float = 1000, *, cost: CostSettings | None = None, **more: float) -> Container:
    return Container(captain.LAW, law_settings(cost=cost), limit, **more)  # type: ignore[arg-type]


def test_it_raises_by_what_exceeds_three_times_the_target() -> None:
    container = a_container()

    container.see(usage_ms=90, times=5)
    container.see(usage_ms=100, throttled=1, throttled_ms=100, times=5)

    # Half of the second was throttled: 1 + 0.5 - 3 × 0.05
    ((at_s, proposal),) = container.proposals
    assert round(at_s, 1) == 1.0
    assert proposal.need_milli == pytest.approx(1350)
    assert proposal.urgent


def test_a_raise_stays_within_the_parallelism_that_was_seen() -> None:
    container = a_container(800)

    container.see(usage_ms=80, throttled=1, throttled_ms=20, times=10)

    # One thread: 0.8 + 0.2, although 1 + 1 - 0.15 would nearly double it.
    assert container.limit == pytest.approx(1000)


def test_it_lowers_to_the_peak_and_three_spreads_but_at_most_by_half() -> None:
    steady, calm = a_container(), a_container()

    steady.see(usage_ms=60, times=5)
    steady.see(usage_ms=70, times=5)
    calm.see(usage_ms=5, times=10)

    # Margin 3 - 0.05 after one second without throttling; the spread of 600 and 700 is 50.
    assert steady.limit == pytest.approx(700 + 2.95 * 50)
    assert calm.limit == 500


def test_it_keeps_a_limit_that_is_less_than_a_tenth_too_large() -> None:
    container = a_container()

    container.see(usage_ms=91, times=100)

    assert container.proposals == []


def test_a_decrease_that_hurts_is_taken_back_within_a_tenth_and_widens_the_margin() -> None:
    container = a_container()
    container.see(usage_ms=30, times=10)
    assert container.limit == 500
    margin = container.state.margin

    container.see(usage_ms=50, throttled=1, throttled_ms=50, times=2)

    # Two throttled periods are 20 % of a second: more than 3 × 5 %. Back, and as much again.
    assert container.proposals[-1][1].reason == "the last decrease was too much"
    assert container.limit == 1500
    assert container.state.margin == pytest.approx(margin + 0.2 - 0.05)


def test_a_limit_that_somebody_else_moved_is_not_rolled_back() -> None:
    container = a_container()
    container.see(usage_ms=30, times=10)
    container.limit = 700

    container.see(usage_ms=70, throttled=1, throttled_ms=50, times=3)

    assert container.limit == 700


def test_its_margin_does_not_wind_up_while_the_market_withholds() -> None:
    container = a_container()

    container.see(grants=False, usage_ms=100, throttled=1, throttled_ms=300, times=600)

    # One second's error, not sixty.
    assert container.state.margin == pytest.approx(3.0 + 0.95)


def test_its_margin_falls_while_nothing_is_throttled_and_never_below_zero() -> None:
    container = a_container()

    container.see(usage_ms=95, times=1000)

    assert container.state.margin == 0


def test_at_its_ceiling_it_keeps_quiet() -> None:
    container = a_container(ceiling=1000)

    assert container.see(usage_ms=100, throttled=1, throttled_ms=300, times=50).advice is Advice.KEEP
    assert container.proposals == []


def test_one_second_counts_as_ten_samples() -> None:
    tenths, seconds = a_container(), a_container()
    for _ in range(8):
        tenths.see(grants=False, times=10, usage_ms=50, throttled=1, throttled_ms=10)
        seconds.see(grants=False, elapsed_s=1.0, usage_ms=500, periods=10, throttled=10, throttled_ms=100)

    assert seconds.state.history_milli == pytest.approx(tenths.state.history_milli)
    assert seconds.state.margin == pytest.approx(tenths.state.margin)
    assert [p.need_milli for _, p in seconds.proposals] == pytest.approx([p.need_milli for _, p in tenths.proposals])


def test_idle_decay_does_not_wait_for_the_history() -> None:
    patient, eager = a_container(), a_container(cost=CostSettings(idle_decay=True))
    for container in (patient, eager):
        container.see(usage_ms=95, times=10)

        container.see(times=10)

    assert patient.limit == 1000
    assert eager.limit == 100
