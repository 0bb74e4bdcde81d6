"""What the kernel counted over a stretch of time, from sightings of all workloads; pure arithmetic."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from mbcasd.model.readings import CpuSample


class Sight(NamedTuple):
    """All workloads at one moment."""

    at_s: float  # monotonic
    samples: Mapping[str, CpuSample]
    limits_milli: Mapping[str, float | None]  # None: unlimited


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupFigures:
    """What one workload's cgroup did over a stretch of time."""

    usage_milli: float  # mean
    used_core_s: float
    periods: int
    throttled_periods: int
    throttled_s: float  # summed over CPUs
    mean_limit_milli: float | None  # None: it was unlimited at some time
    max_limit_milli: float | None
    limit_changes: int

    @property
    def throttled_ratio(self) -> float:
        """Share of the periods in which it wanted to run and was throttled, 0 to 1."""
        return self.throttled_periods / self.periods if self.periods else 0.0


def between(sights: Sequence[Sight], start_s: float, end_s: float) -> dict[str, CgroupFigures]:
    """Figures of each workload between two moments, as near as the sightings allow; empty with fewer than two."""
    times = [sight.at_s for sight in sights]
    chosen = sights[_nearest(times, start_s) : _nearest(times, end_s) + 1]
    if len(chosen) < 2:
        return {}
    return {name: _figures(chosen, name) for name in chosen[0].samples}


def _nearest(times: Sequence[float], at_s: float) -> int:
    after = bisect_left(times, at_s)
    if after == 0 or (after < len(times) and times[after] - at_s <= at_s - times[after - 1]):
        return after
    return after - 1


def _figures(sights: Sequence[Sight], name: str) -> CgroupFigures:
    first, last = sights[0], sights[-1]
    before, after = first.samples[name], last.samples[name]
    elapsed_s = last.at_s - first.at_s
    limits = [sight.limits_milli[name] for sight in sights]
    bounded = [milli for milli in limits if milli is not None]
    always = len(bounded) == len(limits)
    # A limit holds from the sighting that shows it to the next one.
    area = math.fsum(
        (later.at_s - sooner.at_s) * (sooner.limits_milli[name] or 0.0) for sooner, later in pairwise(sights)
    )
    return CgroupFigures(
        usage_milli=(after.usage_usec - before.usage_usec) / elapsed_s / 1000,
        used_core_s=(after.usage_usec - before.usage_usec) / 1e6,
        periods=after.periods - before.periods,
        throttled_periods=after.throttled_periods - before.throttled_periods,
        throttled_s=(after.throttled_usec - before.throttled_usec) / 1e6,
        mean_limit_milli=area / elapsed_s if always else None,
        max_limit_milli=max(bounded) if always else None,
        limit_changes=sum(1 for sooner, later in pairwise(limits) if sooner != later),
    )
