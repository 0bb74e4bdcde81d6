"""The phases of a load test as data: how long, how many requests per second, with which spikes.

The four phases are those of the project's requirements. At full rate the last ones ask for about six cores
(100 requests per second of 30 ms and 24 ms), so on a small machine the rates are scaled as well as the times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mbcasd.errors import ConfigError

# Share of the full rate per CPU. With 0.07 the contention phase asks for 0.07 x 100 x 56 ms = 0.39 CPU per CPU:
# the workers then need some 80 % of their fixed limits on average, and more than all of them now and then.
RATE_SCALE_PER_CPU = 0.07


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time with one pattern of arrivals."""

    name: str
    duration_s: float
    rate_rps: float
    spike_rate_rps: float | None = None  # None: no spikes
    spike_every_s: float = 0.0  # a spike ends each stretch of this length
    spike_s: float = 0.0  # and lasts so long

    def segments(self) -> Iterator[tuple[float, float, float]]:
        """Yield (start, end, requests per second) in order, covering the phase, in seconds from its start."""
        if self.spike_rate_rps is None:
            yield 0.0, self.duration_s, self.rate_rps
            return
        start_s = 0.0
        while start_s < self.duration_s:
            spike_at_s = min(start_s + self.spike_every_s - self.spike_s, self.duration_s)
            end_s = min(start_s + self.spike_every_s, self.duration_s)
            yield start_s, spike_at_s, self.rate_rps
            if end_s > spike_at_s:
                yield spike_at_s, end_s, self.spike_rate_rps
            start_s = end_s

    def rate_at(self, at_s: float) -> float:
        """Requests per second at a moment, in seconds from the start of the phase."""
        rate_rps = self.rate_rps
        for start_s, _, rate in self.segments():
            if start_s <= at_s:
                rate_rps = rate
        return rate_rps

    def scaled(self, *, time_scale: float, rate_scale: float) -> "Phase":
        """The same pattern, shorter or slower."""
        return replace(
            self,
            duration_s=self.duration_s * time_scale,
            spike_every_s=self.spike_every_s * time_scale,
            spike_s=self.spike_s * time_scale,
            rate_rps=self.rate_rps * rate_scale,
            spike_rate_rps=None if self.spike_rate_rps is None else self.spike_rate_rps * rate_scale,
        )


PHASES: tuple[Phase, ...] = (
    Phase(name="warm-up", duration_s=120, rate_rps=10),
    Phase(name="saturation", duration_s=300, rate_rps=50),
    Phase(name="contention", duration_s=300, rate_rps=100),
    Phase(name="bursty", duration_s=180, rate_rps=50, spike_rate_rps=150, spike_every_s=30, spike_s=8),
)

# The demo's half in shares: shorter and steeper, with spikes that a person can watch.
_DEMO_SHARES = (("warm-up", 0.10), ("saturation", 0.25), ("contention", 0.35), ("bursty", 0.30))
_DEMO_SPIKES = 2

# What the demo needs beside the two halves: starting, emptying queues, stopping.
_DEMO_AROUND_S = 6.0
DEMO_DRAIN_S = 2.0


def for_demo(seconds: float, *, rate_scale: float) -> tuple[Phase, ...]:
    """The phases of one half of a demo that takes so many seconds in all, at least 10."""
    known = {phase.name: phase for phase in PHASES}
    half_s = max(2.0, (seconds - _DEMO_AROUND_S) / 2)
    chosen = []
    for name, share in _DEMO_SHARES:
        phase = known[name].scaled(time_scale=share * half_s / known[name].duration_s, rate_scale=rate_scale)
        if phase.spike_rate_rps is not None:
            every_s = phase.duration_s / _DEMO_SPIKES
            phase = replace(phase, spike_every_s=every_s, spike_s=every_s * phase.spike_s / phase.spike_every_s)
        chosen.append(phase)
    return tuple(chosen)


def default_rate_scale(cpus: int) -> float:
    """The share of the full rates that makes a node of so many CPUs busy but not hopeless; at most 1."""
    return min(1.0, round(RATE_SCALE_PER_CPU * cpus, 4))


def select(names: Sequence[str]) -> tuple[Phase, ...]:
    """Pick phases by name, in the order of the test; no names pick all.

    Raises:
        ConfigError: There is no phase of that name.
    """
    known = {phase.name: phase for phase in PHASES}
    for name in names:
        if name not in known:
            raise ConfigError(f"--phases: {name!r} is no phase; there are {', '.join(known)}")
    return tuple(phase for phase in PHASES if not names or phase.name in names)


def total_s(phases: Sequence[Phase]) -> float:
    """How long phases take one after the other, in seconds."""
    return sum(phase.duration_s for phase in phases)
