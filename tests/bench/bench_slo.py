"""What the latency guard is worth, in simulation: the engine over services with real queues, with and without it.

python tests/bench/bench_slo.py [--json FILE] [--seeds 1] [--seconds 600] [--estimator reflex]

Eight loads, each with objectives relative to the best p99 that it can have (no limit at all). Both runs meet the same
requests. A model: for ranking, not for promises.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from estimation import cfs_model
from estimation.cfs_model import Jobs
from fakes.node import PERIOD_S, FakeNode
from fakes.service import FakeService, quantile

from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import LatencyReading, LatencySourceKind
from mbcasd.settings import DemandSettings, EstimatorKind, LoopSettings, Settings

WARM_UP_S = 60.0
WINDOW_S = 30.0
READ_EVERY_S = 15.0
# Times the best p99: hard to keep, plain, easy.
OBJECTIVES = (1.3, 2.5, 5.0)


def _arrivals(
    seed: int, until_s: float, rate_hz: Callable[[float], float], work_s: Callable[[random.Random], float]
) -> Jobs:
    rng, now_s, jobs = random.Random(seed), 0.0, []
    while (now_s := now_s + rng.expovariate(rate_hz(now_s))) < until_s:
        jobs.append((now_s, work_s(rng)))
    return jobs


def sparse(seed: int, until_s: float) -> Jobs:
    """3 requests of 15 ms per second."""
    return _arrivals(seed, until_s, lambda _: 3, lambda _: 0.015)


def spiky(seed: int, until_s: float) -> Jobs:
    """8 requests per second, every fifth four times as dear."""
    return _arrivals(seed, until_s, lambda _: 8, lambda rng: 0.06 if rng.random() < 0.2 else 0.015)


def swinging(seed: int, until_s: float) -> Jobs:
    """15 requests of 20 ms per second, 60 % more and less in turn over ten minutes."""
    return _arrivals(
        seed,
        until_s,
        lambda at_s: 15 * (1 + 0.6 * math.sin(2 * math.pi * at_s / 600)),
        lambda rng: rng.expovariate(50),
    )


LOADS = (
    cfs_model.poisson_small,
    cfs_model.poisson_large,
    cfs_model.fan_out,
    cfs_model.bursts,
    cfs_model.heavy_tail,
    sparse,
    spiky,
    swinging,
)


class Outcome(NamedTuple):
    """One run."""

    violated_ratio: float  # windows of 30 s whose p99 was over the objective
    over_ratio: float  # requests over the objective
    limit_milli: float  # mean
    writes: float


def best_p99_s(jobs: Jobs, seconds: float) -> float:
    """The p99 without any limit."""
    service = FakeService(lambda _: 0.0, None, threads=8, jobs=jobs)
    for period in range(round(seconds / PERIOD_S)):
        service.run_period((period + 1) * PERIOD_S)
    return quantile([took_s for done_s, took_s in service.served if done_s > WARM_UP_S], 0.99) or 0.0


def run(jobs: Jobs, seconds: float, objective_s: float, estimator: EstimatorKind, *, guided: bool) -> Outcome:
    """One service on a node of its own."""
    service = FakeService(lambda _: 0.0, 500.0, threads=8, jobs=jobs, slo_p99_s=objective_s if guided else None)
    read_at_s = READ_EVERY_S

    def latencies(now_s: float) -> Mapping[WorkloadId, LatencyReading]:
        nonlocal read_at_s
        if not guided or now_s < read_at_s:
            return {}
        read_at_s += READ_EVERY_S
        p99_s = service.p99_s(now_s, WINDOW_S)
        return {} if p99_s is None else {node.id("w"): LatencyReading(now_s, LatencySourceKind.PROMETHEUS, p99_s)}

    settings = Settings(loops=LoopSettings(slow_loop_interval_s=5.0), demand=DemandSettings(estimator=estimator))
    node = FakeNode(
        {"w": service}, capacity_milli=8000.0, cpus=8, settings=settings, latencies=latencies, latency_s=0.1
    )
    node.run(seconds)
    warm = [took_s for done_s, took_s in service.served if done_s > WARM_UP_S]
    windows: dict[int, list[float]] = {}
    for done_s, took_s in service.served:
        if done_s > WARM_UP_S:
            windows.setdefault(int(done_s // WINDOW_S), []).append(took_s)
    limits = [at["w"] or 0.0 for at in node.limits_over_time[round(WARM_UP_S / PERIOD_S) :]]
    return Outcome(
        sum((quantile(took, 0.99) or 0.0) > objective_s for took in windows.values()) / len(windows),
        sum(took_s > objective_s for took_s in warm) / len(warm),
        sum(limits) / len(limits),
        len(node.resizes),
    )


def mean(outcomes: list[Outcome]) -> Outcome:
    return Outcome(*(sum(figures) / len(outcomes) for figures in zip(*outcomes, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--estimator", type=EstimatorKind, default=EstimatorKind.REFLEX, choices=list(EstimatorKind))
    chosen = parser.parse_args()
    plays = [load(seed, chosen.seconds) for load in LOADS for seed in range(1, chosen.seeds + 1)]
    best_s = [best_p99_s(jobs, chosen.seconds) for jobs in plays]
    print(f"{chosen.estimator.value}, {len(plays)} runs of {chosen.seconds:g} s; objectives are times the best p99")
    print(f"{'':<24}{'30 s windows over':>19}{'requests over':>15}{'mean limit':>12}{'writes':>8}")
    rows = {}
    for factor in OBJECTIVES:
        for guided in (False, True):
            outcomes = [
                run(jobs, chosen.seconds, factor * best, chosen.estimator, guided=guided)
                for jobs, best in zip(plays, best_s, strict=True)
            ]
            found = mean(outcomes)
            name = f"{factor:g}, {'with' if guided else 'without'} the guard"
            rows[name] = found._asdict()
            print(
                f"{name:<24}{found.violated_ratio:>18.1%}{found.over_ratio:>15.2%}"
                f"{found.limit_milli:>11.0f}m{found.writes:>8.0f}"
            )
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
