"""Phases to arrivals: when each request is meant to be sent, the same for the same seed.

Pure. The schedule is made before the first request is sent and never looks at answers: that is what makes the
loop open. Each phase draws from a stream of its own, so that leaving one out does not move the others' arrivals.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from mbcasctl.loadtest.phases import Phase
from mbcasd.errors import ConfigError

# A bound on memory, far above what the phases need at full rate and length (61 800 requests).
MAX_REQUESTS = 500_000


class Arrivals(Enum):
    """How requests are spaced."""

    POISSON = "poisson"  # many independent users
    UNIFORM = "uniform"  # evenly, half a gap after the start of each stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is to be sent, and when."""

    phases: tuple[Phase, ...]
    seed: int
    arrivals: Arrivals
    offsets_s: tuple[float, ...]  # from the start, rising
    phase_of: tuple[int, ...]  # index into `phases`, for each request

    @property
    def duration_s(self) -> float:
        """From the start of the first phase to the end of the last."""
        return sum(phase.duration_s for phase in self.phases)

    def boundaries_s(self) -> tuple[float, ...]:
        """Start of each phase, and the end of the last, in seconds from the start."""
        return tuple(itertools.accumulate((phase.duration_s for phase in self.phases), initial=0.0))


def plan(phases: Sequence[Phase], *, seed: int, arrivals: Arrivals = Arrivals.POISSON) -> Schedule:
    """Draw the arrivals of all phases.

    Raises:
        ConfigError: They are more than the test keeps in memory.
    """
    expected = sum((end_s - start_s) * rate for phase in phases for start_s, end_s, rate in phase.segments())
    if expected > MAX_REQUESTS:
        raise ConfigError(
            f"{expected:.0f} requests are more than {MAX_REQUESTS}: use a smaller --scale or --rate-scale"
        )
    offsets: list[float] = []
    phase_of: list[int] = []
    began_s = 0.0
    for index, phase in enumerate(phases):
        stream = random.Random(f"{seed}/{phase.name}")  # noqa: S311 - repeatable, not secret
        for start_s, end_s, rate_rps in phase.segments():
            spaced = _poisson(stream, rate_rps) if arrivals is Arrivals.POISSON else _uniform(rate_rps)
            for after_s in spaced:
                if start_s + after_s >= end_s:
                    break
                offsets.append(began_s + start_s + after_s)
                phase_of.append(index)
        began_s += phase.duration_s
    return Schedule(
        phases=tuple(phases), seed=seed, arrivals=arrivals, offsets_s=tuple(offsets), phase_of=tuple(phase_of)
    )


def _poisson(stream: random.Random, rate_rps: float) -> Iterator[float]:
    """Yield arrival times of a Poisson process. It has no memory, so each stretch of one rate may start afresh."""
    at_s = 0.0
    while rate_rps > 0:
        at_s += stream.expovariate(rate_rps)
        yield at_s


def _uniform(rate_rps: float) -> Iterator[float]:
    """Yield evenly spaced arrival times."""
    number = 0
    while rate_rps > 0:
        yield (number + 0.5) / rate_rps
        number += 1
