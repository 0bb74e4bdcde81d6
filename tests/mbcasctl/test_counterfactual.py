import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasctl.explaining import counterfactual
from mbcasctl.explaining.counterfactual import Counterfactual, Policy, Setting, Throttle
from mbcasctl.explaining.vpa import Recommender
from mbcasd.model.demand import Contract
from mbcasd.model.readings import CpuSample, Interval


def a_setting(owner_limit: float | None = 500, *, floor: float = 100, cap: float = 4000) -> Setting:
    return Setting(contract=Contract(floor_milli=floor, cap_milli=cap, owner_limit_milli=owner_limit), cpus=4)


def uses(milli: float, seconds: float, *, step_s: float = 0.1, since_s: float = 0.0) -> list[Interval]:
    """Steady use, as it was recorded under a limit that did not hold it."""
    steps = round(seconds / step_s)
    return [
        Interval(since_s + (step + 1) * step_s, step_s, round(milli * step_s * 1000), 1, 0, 0) for step in range(steps)
    ]


def played(policy: Policy, recorded: list[Interval], setting: Setting) -> Counterfactual:
    (result,) = counterfactual.compare([policy], recorded, setting)
    return result


def test_the_owners_limit_throttles_what_exceeds_it() -> None:
    calm, busy = uses(300, 10), uses(800, 10)

    assert played(Policy.STATIC, calm, a_setting()).throttled_ratio == 0
    assert played(Policy.STATIC, busy, a_setting()).throttled_ratio == 1
    # 10 s at 800m leave 3000 mCPU-s that take 15 s at the 200m that are left over.
    assert played(Policy.STATIC, busy + uses(300, 30), a_setting()).throttled_ratio == pytest.approx(25 / 40, abs=0.01)


def test_without_a_limit_nothing_is_throttled() -> None:
    result = played(Policy.STATIC, uses(4000, 10), a_setting(None))

    assert (result.limit_milli, result.throttled_ratio) == (None, 0)


def test_the_laws_start_from_the_owners_limit_and_find_the_use() -> None:
    recorded = uses(300, 10) + uses(800, 110, since_s=10)
    reflex, captain, usage = (
        played(policy, recorded, a_setting()) for policy in (Policy.REFLEX, Policy.CAPTAIN, Policy.USAGE)
    )

    for result in (reflex, captain, usage):
        assert result.limit_milli is not None
        assert 800 <= result.limit_milli <= 1300
        assert result.changes > 0
    # Two laws react to throttling, the seed's rule creeps up by five percent of what it sees.
    assert max(reflex.throttled_ratio, captain.throttled_ratio) < 0.03 < usage.throttled_ratio


def test_no_policy_leaves_the_contract() -> None:
    for policy in Policy:
        result = played(policy, uses(3000, 60), a_setting(500, cap=900))
        assert result.limit_milli is not None
        assert result.limit_milli <= 900


def test_vpa_learns_the_limit_that_holds_it() -> None:
    held = played(Policy.VPA, uses(2000, 600), a_setting(500))
    free = played(Policy.VPA, uses(2000, 600), a_setting(None))

    # The bucket of 500m ends at most 5 % higher; 15 % more than that.
    assert held.limit_milli == pytest.approx(500 * 1.15 * 1.025, rel=0.03)
    assert free.limit_milli == pytest.approx(2000 * 1.15 * 1.025, rel=0.03)


def test_vpa_acts_once_its_bounds_have_closed_in() -> None:
    recommender = Recommender()
    for minute in range(10):
        recommender.see(1000, minute * 60)

    target_milli, wait_s = recommender.target_milli, recommender.acts_after_s(500)
    assert target_milli is not None
    assert wait_s is not None
    # lower bound = median × (1 + .001 / days)⁻², days = .001 / (√(median / 500m) - 1)
    assert wait_s == pytest.approx(0.001 / ((target_milli / 500) ** 0.5 - 1) * 86_400)
    # A change of less than 10 % within the bounds is none; a little more waits for twelve hours.
    assert recommender.acts_after_s(target_milli * 0.95) == pytest.approx(0.001 / (0.95**-0.5 - 1) * 86_400)
    assert recommender.acts_after_s(target_milli * 1.05) == pytest.approx(20 * 86_400)
    assert recommender.acts_after_s(target_milli) is None
    assert recommender.acts_after_s(target_milli * 1.2) == 12 * 3600


def test_vpa_moves_a_workload_that_is_old_enough() -> None:
    result = played(Policy.VPA, uses(100, 4 * 3600, step_s=1.0), a_setting(4000, cap=4000))

    # (1 + 1 / days) × p95 < 4000m needs days > 0.03: about 45 minutes.
    assert result.changes >= 1
    assert result.limit_milli is not None
    assert result.limit_milli < 200


def test_vpa_never_recommends_less_than_its_minimum() -> None:
    recommender = Recommender()
    assert recommender.target_milli is None
    assert recommender.acts_after_s(500) is None

    recommender.see(0, 0)

    assert recommender.target_milli == 25


@given(st.lists(st.floats(0, 64_000), min_size=1, max_size=50))
def test_vpa_recommends_something_between_the_least_and_the_largest_use(usages: list[float]) -> None:
    recommender = Recommender()
    for minute, usage_milli in enumerate(usages):
        recommender.see(usage_milli, minute * 60.0)

    target_milli = recommender.target_milli
    assert target_milli is not None
    assert 25 <= target_milli <= max(25, 1.15 * (1.05 * max(usages) + 10)) + 1e-6
    assert target_milli >= min(usages)


@given(
    use=st.lists(st.tuples(st.floats(0.01, 2), st.integers(0, 8_000_000)), min_size=1, max_size=40),
    limit=st.floats(10, 8000),
)
def test_a_throttle_loses_no_work_and_lets_no_more_pass_than_the_limit(
    use: list[tuple[float, int]], limit: float
) -> None:
    throttle, now_s, offered, served = Throttle(8, 0.1), 0.0, 0, 0
    for elapsed_s, usage_usec in use:
        now_s += elapsed_s
        seen = throttle.serve(Interval(now_s, elapsed_s, usage_usec, 1, 0, 0), limit)
        offered += usage_usec
        served += seen.usage_usec
        assert seen.usage_usec <= limit * elapsed_s * 1000 + 1
        assert seen.throttled_periods <= seen.periods
        assert seen.throttled_usec >= 0
    assert served <= offered + len(use)
    assert 0 <= throttle.throttled_ratio <= 1
    # What waits is done once there is room.
    rest = throttle.serve(Interval(now_s + 1000, 1000.0, 0, 1, 0, 0), 1e6)
    assert served + rest.usage_usec == pytest.approx(offered, abs=len(use) + 1)


def test_resets_and_gaps_are_no_intervals() -> None:
    samples = [
        CpuSample(1.0, 100),
        CpuSample(2.0, 200),
        CpuSample(3.0, 50),  # recreated
        CpuSample(4.0, 60),
        CpuSample(4000.0, 70),  # the daemon was away
        CpuSample(4001.0, 80),
    ]

    assert [round(interval.ended_at_s) for interval in counterfactual.intervals(samples)] == [2, 4, 4001]


def test_nothing_recorded_gives_nothing() -> None:
    assert counterfactual.compare(list(Policy), [], a_setting()) == ()
