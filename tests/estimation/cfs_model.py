"""A small, exact model of a quota: jobs on threads, each at most one CPU, all held once a period's quota is used.

Event by event, so that a run of minutes takes milliseconds. Counters as the kernel keeps them (algorithms §3.1):
throttled time is summed over the threads that were held, and credited when the period ends.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator

from mbcasd.model.readings import CpuSample

PERIOD_S = 0.1
Jobs = list[tuple[float, float]]  # (arrival in s, work in CPU seconds), by arrival


def run(jobs: Jobs, limit_cores: float, duration_s: float, *, threads: int = 8) -> Iterator[CpuSample]:
    """Yield the counters at the end of each period; jobs are served in the order of their arrival."""
    waiting: deque[float] = deque()
    running: list[float] = []
    arrivals = iter([*jobs, (math.inf, 0.0)])
    arrives_s, work_s = next(arrivals)
    usage_s = throttled_s = 0.0
    periods = throttled_periods = 0
    for period in range(round(duration_s / PERIOD_S)):
        now_s, ends_s = period * PERIOD_S, (period + 1) * PERIOD_S
        quota_s, held, active = limit_cores * PERIOD_S, False, False
        while now_s < ends_s - 1e-12:
            while len(running) < threads and waiting:
                running.append(waiting.popleft())
            active = active or bool(running)
            next_s = min(ends_s, max(now_s, arrives_s))
            if running and not held:
                next_s = min(next_s, now_s + min(*running, quota_s / len(running)))
            elapsed_s = next_s - now_s
            if held:
                throttled_s += elapsed_s * len(running)
            elif running:
                usage_s += elapsed_s * len(running)
                quota_s -= elapsed_s * len(running)
                running = [left for left in (left_s - elapsed_s for left_s in running) if left > 1e-12]
                held = quota_s <= 1e-12 and bool(running)
            now_s = next_s
            while arrives_s <= now_s + 1e-12:
                waiting.append(work_s)
                arrives_s, work_s = next(arrivals)
                # Whoever arrives after the quota is gone is held as well.
                held = held or quota_s <= 1e-12
        periods += active
        throttled_periods += held
        yield CpuSample(ends_s, round(usage_s * 1e6), periods, throttled_periods, round(throttled_s * 1e6), None, None)


def _open_loop(
    seed: int, duration_s: float, rate_hz: Callable[[float], float], work_s: Callable[[random.Random], float]
) -> Jobs:
    rng, now_s, jobs = random.Random(seed), 0.0, []
    while True:
        now_s += rng.expovariate(rate_hz(now_s))
        if now_s >= duration_s:
            return jobs
        jobs.append((now_s, work_s(rng)))


def _lognormal(mean: float, cv: float) -> Callable[[random.Random], float]:
    sigma = math.sqrt(math.log(1 + cv * cv))
    return lambda rng: rng.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)


def poisson_small(seed: int, duration_s: float) -> Jobs:
    """5 ms jobs, 0.3 CPUs."""
    return _open_loop(seed, duration_s, lambda _: 60, lambda rng: rng.expovariate(1 / 0.005))


def poisson_large(seed: int, duration_s: float) -> Jobs:
    """20 ms jobs with a coefficient of variation of 1.5, 0.6 CPUs."""
    return _open_loop(seed, duration_s, lambda _: 30, _lognormal(0.02, 1.5))


def fan_out(seed: int, duration_s: float) -> Jobs:
    """Four 10 ms jobs at once, 0.4 CPUs."""
    return [job for job in _open_loop(seed, duration_s, lambda _: 10, lambda _: 0.01) for _ in range(4)]


def bursts(seed: int, duration_s: float) -> Jobs:
    """10 or 60 requests of 20 ms per second, for about 10 and 4 seconds in turn."""
    rng, now_s, busy, switches = random.Random(seed + 1), 0.0, False, []
    while now_s < duration_s:
        now_s += rng.expovariate(1 / (4 if busy else 10))
        busy = not busy
        switches.append((now_s, busy))

    def rate_hz(at_s: float) -> float:
        before = [state for switched_s, state in switches if switched_s <= at_s]
        return 60 if before and before[-1] else 10

    return _open_loop(seed, duration_s, rate_hz, lambda rng: rng.expovariate(1 / 0.02))


def heavy_tail(seed: int, duration_s: float) -> Jobs:
    """20 ms jobs with a coefficient of variation of 4, 0.4 CPUs."""
    return _open_loop(seed, duration_s, lambda _: 20, _lognormal(0.02, 4))


def steady(_seed: int, duration_s: float) -> Jobs:
    """Five 10 ms jobs per period, evenly: 0.5 CPUs."""
    return [(tick * 0.02, 0.01) for tick in range(int(duration_s / 0.02))]


GENERATORS = (poisson_small, poisson_large, fan_out, bursts, heavy_tail, steady)


def throttled_ratio(jobs: Jobs, limit_cores: float, duration_s: float) -> float:
    """Share of the active periods that are throttled under a limit."""
    *_, last = run(jobs, limit_cores, duration_s)
    return last.throttled_periods / last.periods


def true_need_cores(jobs: Jobs, duration_s: float, target_ratio: float) -> float:
    """The smallest limit with at most the target's throttling, by bisection."""
    low, high = 0.05, 8.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if throttled_ratio(jobs, middle, duration_s) <= target_ratio else (middle, high)
    return high
