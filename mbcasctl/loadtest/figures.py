"""Exact percentiles and counts of latencies; pure arithmetic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SLO_S = 0.1  # the requirements' target for a request, in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """What one service's clients waited, in milliseconds, over one stretch of time.

    Requests that were never answered count with the time until the test gave up on them, so that a service that
    hangs cannot look fast. All figures are None where nothing was asked.
    """

    requests: int
    unanswered: int  # still open at the end, or failed
    over_slo: int  # later than SLO_S, the unanswered ones included
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @property
    def over_slo_ratio(self) -> float | None:
        """Share of requests that missed the target, 0 to 1."""
        return self.over_slo / self.requests if self.requests else None


def percentile(ordered: Sequence[float], ratio: float) -> float:
    """The smallest value that at least this share of all values do not exceed (nearest rank).

    Args:
        ordered: At least one value, rising.
        ratio: 0 to 1.
    """
    return ordered[max(0, math.ceil(ratio * len(ordered) - 1e-9) - 1)]


def summarise(answered_s: Sequence[float], unanswered_s: Sequence[float] = ()) -> Latencies:
    """Turn waiting times in seconds, in any order, into figures."""
    ordered = sorted((*answered_s, *unanswered_s))

    def at_ms(ratio: float) -> float | None:
        return percentile(ordered, ratio) * 1000 if ordered else None

    return Latencies(
        requests=len(ordered),
        unanswered=len(unanswered_s),
        over_slo=sum(1 for s in answered_s if s > SLO_S) + len(unanswered_s),
        mean_ms=math.fsum(ordered) / len(ordered) * 1000 if ordered else None,
        p50_ms=at_ms(0.50),
        p95_ms=at_ms(0.95),
        p99_ms=at_ms(0.99),
        max_ms=at_ms(1.0),
    )
