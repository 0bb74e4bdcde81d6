from hypothesis import given
from hypothesis import strategies as st

from mbcasd.host.held import Bandwidth
from mbcasd.host.moving import LeakMeter, Step, steps


def test_a_raise_writes_the_quota_before_the_burst() -> None:
    assert steps(Bandwidth(20_000, 20_000), Bandwidth(50_000, 50_000)) == (
        Step(is_quota=True, value_usec=50_000),
        Step(is_quota=False, value_usec=50_000),
    )


def test_a_decrease_writes_the_burst_before_the_quota() -> None:
    assert steps(Bandwidth(50_000, 50_000), Bandwidth(20_000, 20_000)) == (
        Step(is_quota=False, value_usec=20_000),
        Step(is_quota=True, value_usec=20_000),
    )


def test_what_does_not_change_is_not_written() -> None:
    assert steps(Bandwidth(20_000, 0), Bandwidth(20_000, 0)) == ()
    assert steps(Bandwidth(20_000, 0), Bandwidth(30_000, 0)) == (Step(is_quota=True, value_usec=30_000),)
    assert steps(Bandwidth(20_000, 0), Bandwidth(20_000, 20_000)) == (Step(is_quota=False, value_usec=20_000),)


def test_a_kernel_without_burst_gets_no_burst() -> None:
    assert steps(Bandwidth(20_000, None), Bandwidth(30_000, 30_000)) == (Step(is_quota=True, value_usec=30_000),)


@st.composite
def bandwidths(draw: st.DrawFn) -> Bandwidth:
    """Any that the kernel accepts: a burst of at most one quota, or no quota and any burst."""
    quota = draw(st.none() | st.integers(1000, 400_000))
    return Bandwidth(quota, draw(st.integers(0, 400_000 if quota is None else quota)))


@given(bandwidths(), bandwidths())
def test_no_order_of_writes_ever_puts_the_burst_above_the_quota(now: Bandwidth, to: Bandwidth) -> None:
    quota, burst = now
    for step in steps(now, to):
        if step.is_quota:
            quota = step.value_usec
        else:
            burst = step.value_usec
        # The kernel's own check, kernel/sched/core.c: burst > quota is EINVAL unless the quota is unlimited.
        assert quota is None or (burst is not None and burst <= quota)
    assert Bandwidth(quota, burst) == to


def test_each_write_leaks_at_most_the_quota_in_force_after_it() -> None:
    meter = LeakMeter()
    meter.count(20_000)
    meter.count(50_000)
    meter.count(None)  # unlimited: nothing to give away

    assert (meter.writes, meter.leaked_usec) == (3, 70_000)
