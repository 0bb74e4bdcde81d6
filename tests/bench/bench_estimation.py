"""What one sample costs in each estimator: microseconds of CPU per observe, as medians.

python tests/bench/bench_estimation.py [--json FILE] [--rounds 15]

The budget: a hundred busy containers at 10 Hz are a thousand calls per second; at 5 µs they cost 5 millicores.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mbcasd.estimation import forecast, stall, window
from mbcasd.estimation.law import LawSettings, Situation
from mbcasd.estimation.laws import LAWS
from mbcasd.model.demand import Advice, WorkloadClass
from mbcasd.model.readings import CpuSample, Interval
from mbcasd.settings import CostSettings, DemandSettings, EstimatorKind, ForecastKind, Preset

SAMPLES = 10_000
SETTINGS = LawSettings(DemandSettings(), CostSettings(), Preset.K, WorkloadClass.STANDARD, cpus=4)


def calm(rng: random.Random, at_s: float) -> Interval:
    """Some use, nothing throttled, pressure known."""
    return Interval(at_s, 0.1, rng.randint(30_000, 80_000), 1, 0, 0, 100, 0)


def mixed(rng: random.Random, at_s: float) -> Interval:
    """One sample in seven is throttled."""
    throttled = int(rng.random() < 1 / 7)
    return Interval(at_s, 0.1, rng.randint(30_000, 100_000), 1, throttled, throttled * 30_000, None, None)


def hungry(_: random.Random, at_s: float) -> Interval:
    """Each sample is throttled and the market withholds everything: the dearest case."""
    return Interval(at_s, 0.1, 100_000, 1, 1, 100_000, 60_000, 50_000)


LOADS: dict[str, Callable[[random.Random, float], Interval]] = {"calm": calm, "mixed": mixed, "hungry": hungry}


def observe_usec(kind: EstimatorKind, intervals: Sequence[Interval], *, grants: bool) -> float:
    """Mean over one run."""
    law, situation = LAWS[kind], Situation(1000.0, 100.0, 4000.0, False, 4)
    observe, settle, state = law.observe, law.settle, law.start(SETTINGS)
    began_s = time.thread_time()
    for interval in intervals:
        state, proposal = observe(state, interval, situation)
        if grants and proposal.advice is not Advice.KEEP:
            state = settle(state, proposal, situation.limit_milli, proposal.need_milli, interval.ended_at_s)
            situation = situation._replace(limit_milli=proposal.need_milli)
    return (time.thread_time() - began_s) / len(intervals) * 1e6


def call_usec(call: Callable[[], object]) -> float:
    """Mean over one run."""
    began_s = time.thread_time()
    for _ in range(SAMPLES):
        call()
    return (time.thread_time() - began_s) / SAMPLES * 1e6


def measure(rounds: int) -> dict[str, float]:
    """Median of the rounds, in microseconds; the runs are interleaved, so that a busy moment hits all alike."""
    rng = random.Random(1)
    loads = {name: [load(rng, tick / 10) for tick in range(1, SAMPLES + 1)] for name, load in LOADS.items()}
    before = CpuSample(1.0, 1_000_000, 100, 10, 50_000, 70_000, 60_000)
    after = CpuSample(1.1, 1_050_000, 101, 11, 60_000, 75_000, 64_000)
    second = Interval(2.0, 1.0, 500_000, 10, 3, 100_000, 120_000, 100_000)
    state, _ = forecast.observe(None, 500.0, 0.0, 1.0, ForecastKind.EWMA)
    for _ in range(10):
        state, _ = forecast.observe(state, 510.0, 0.0, 1.0, ForecastKind.EWMA)
    others: dict[str, Callable[[], object]] = {
        "window.between": lambda: window.between(before, after),
        "stall.split (1 Hz)": lambda: stall.split(second, 500.0, 4),
        "forecast.observe (1 Hz)": lambda: forecast.observe(state, 500.0, 0.0, 1.0, ForecastKind.EWMA),
    }
    runs: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, intervals in loads.items():
            for kind in EstimatorKind:
                took_usec = observe_usec(kind, intervals, grants=name != "hungry")
                runs.setdefault(f"{kind.value} {name}", []).append(took_usec)
        for name, call in others.items():
            runs.setdefault(name, []).append(call_usec(call))
    return {name: statistics.median(took) for name, took in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the medians to this file")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    medians = measure(options.rounds)

    print(f"µs per observe      {''.join(f'{name:>9}' for name in LOADS)}")
    for kind in EstimatorKind:
        figures = [medians[f"{kind.value} {name}"] for name in LOADS]
        print(f"  {kind.value:<18}{''.join(f'{figure:9.2f}' for figure in figures)}")
    print("µs per call")
    for name in ("window.between", "stall.split (1 Hz)", "forecast.observe (1 Hz)"):
        print(f"  {name:<36}{medians[name]:9.2f}")
    if options.json:
        options.json.write_text(json.dumps({"unit": "µs", "medians": medians}, indent=2) + "\n")


if __name__ == "__main__":
    main()
