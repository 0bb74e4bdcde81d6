"""A load test's result with round figures, for the tests of what shows it."""

from mbcasctl.loadtest.counters import CgroupFigures
from mbcasctl.loadtest.figures import summarise
from mbcasctl.loadtest.phases import Phase
from mbcasctl.loadtest.results import LoadtestResult, RegimeResult, Stretch

LIMITS = {"gateway": 200.0, "worker-a": 1000.0, "worker-b": 1000.0, "noise-0": 800.0, "noise-1": 800.0}


def figures(*, used_s: float, limit: float, throttled: int = 0, changes: int = 0) -> CgroupFigures:
    return CgroupFigures(
        usage_milli=used_s * 100,  # over 10 s
        used_core_s=used_s,
        periods=100,
        throttled_periods=throttled,
        throttled_s=throttled * 0.05,
        mean_limit_milli=limit,
        max_limit_milli=limit,
        limit_changes=changes,
    )


def a_stretch(name: str, *, slow_s: float, limit_factor: float = 1.0, throttled: int = 60, changes: int = 0) -> Stretch:
    """99 requests of which the last is `slow_s` late at worker-b."""
    quick = [0.030] * 98
    return Stretch(
        name=name,
        duration_s=10.0,
        latencies={
            "gateway": summarise([*[s + 0.005 for s in quick], slow_s + 0.01]),
            "worker-a": summarise([*quick, 0.031]),
            "worker-b": summarise([*quick, slow_s]),
        },
        workloads={
            "gateway": figures(used_s=1, limit=200 * limit_factor),
            "worker-a": figures(used_s=5, limit=1000 * limit_factor, throttled=10),
            "worker-b": figures(used_s=4, limit=1000 * limit_factor, throttled=throttled, changes=changes),
            "noise-0": figures(used_s=10, limit=800 * limit_factor),
            "noise-1": figures(used_s=12, limit=800 * limit_factor),
        },
    )


def a_regime(regime: str, *, slow_s: float, **more: float) -> RegimeResult:
    daemon = regime == "mbcas"
    return RegimeResult(
        regime=regime,
        limits_milli=LIMITS,
        phases=(a_stretch("contention", slow_s=slow_s, **more),),  # type: ignore[arg-type]
        total=a_stretch("all", slow_s=slow_s, **more),  # type: ignore[arg-type]
        restarts=0,
        generator_late_p99_ms=0.4,
        daemon_mode="enforce" if daemon else None,
        daemon_cpu_milli=6.2 if daemon else None,
        limits_restored=True if daemon else None,
    )


def a_result() -> LoadtestResult:
    return LoadtestResult(
        version="0.1.0",
        started_at="2026-11-25T10:00:00+00:00",
        cpus=4,
        seed=1,
        arrivals="poisson",
        time_scale=1 / 30,
        rate_scale=0.28,
        phases=(Phase(name="contention", duration_s=10, rate_rps=28),),
        regimes=(
            a_regime("fixed", slow_s=0.912),
            a_regime("mbcas", slow_s=0.121, limit_factor=0.75, throttled=2, changes=41),
        ),
    )
