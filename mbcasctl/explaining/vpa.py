"""A recommendation as the Vertical Pod Autoscaler would give it, from its published constants.

CPU use per minute goes into an exponential histogram that forgets with a half-life of a day. The target is its 90th
percentile and 15 % more; the bounds are the 50th and the 95th, wide apart as long as little was seen. The updater
acts when what is set lies outside the bounds, or, once a workload is twelve hours old, on a change of 10 %.

Throttling is no input: held by a limit, it learns that limit.

Source: kubernetes/autoscaler, vertical-pod-autoscaler, recommender/model/aggregations_config.go,
recommender/logic/recommender.go, updater/priority (algorithms §3.4).
"""

from math import exp2, log1p

SAMPLE_S = 60.0
HALF_LIFE_S = 86_400.0
SAFETY_FACTOR = 1.15
LEAST_MILLI = 25.0

_FIRST_BUCKET_MILLI = 10.0
_GROWTH = 0.05
_TARGET, _LOWER, _UPPER = 0.90, 0.50, 0.95
_DAY_S = 86_400.0
_OLD_S = 12 * 3600.0
_CHANGE_RATIO = 0.10


class Recommender:
    """One container's histogram and what follows from it."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._weights: dict[int, float] = {}
        self._total = 0.0
        self._seen_s = 0.0

    def see(self, usage_milli: float, at_s: float) -> None:
        """Take in the mean use of one minute."""
        # Newer samples weigh more instead of older ones less, so that no bucket has to be touched.
        weight = exp2(at_s / HALF_LIFE_S)
        bucket = _bucket(usage_milli)
        self._weights[bucket] = self._weights.get(bucket, 0.0) + weight
        self._total += weight
        self._seen_s += SAMPLE_S

    @property
    def target_milli(self) -> float | None:
        """What it recommends; None: nothing was seen."""
        return self._percentile_milli(_TARGET)

    def acts_after_s(self, limit_milli: float) -> float | None:
        """How old a workload must be before the updater moves its limit to the target; None: it does not want to.

        The bounds close in as more is seen: the lower one is (1 + 0.001 / days)⁻² of the median, the upper one
        (1 + 1 / days) times the 95th percentile.
        """
        target_milli = self.target_milli
        lower_milli, upper_milli = self._percentile_milli(_LOWER), self._percentile_milli(_UPPER)
        if target_milli is None or lower_milli is None or upper_milli is None:
            return None
        waits_s = []
        if lower_milli > limit_milli:
            waits_s.append(0.001 / ((lower_milli / limit_milli) ** 0.5 - 1) * _DAY_S)
        if upper_milli < limit_milli:
            waits_s.append(1 / (limit_milli / upper_milli - 1) * _DAY_S)
        if abs(target_milli - limit_milli) >= _CHANGE_RATIO * limit_milli:
            waits_s.append(_OLD_S)
        return max(SAMPLE_S, min(waits_s)) if waits_s else None

    def _percentile_milli(self, share: float) -> float | None:
        """End of the bucket that holds the percentile, with the safety margin."""
        if not self._weights:
            return None
        wanted, passed = share * self._total, 0.0
        for bucket in sorted(self._weights):
            passed += self._weights[bucket]
            if passed >= wanted - 1e-9 * self._total:
                return max(LEAST_MILLI, _bucket_start_milli(bucket + 1) * SAFETY_FACTOR)
        raise AssertionError("the weights do not add up")  # pragma: no cover


def _bucket(milli: float) -> int:
    """Bucket n starts where the sizes 10m × 1.05ⁿ of the ones before it add up to."""
    if milli < _FIRST_BUCKET_MILLI:
        return 0
    bucket = int(log1p(milli * _GROWTH / _FIRST_BUCKET_MILLI) / log1p(_GROWTH))
    return bucket if _bucket_start_milli(bucket + 1) > milli else bucket + 1


def _bucket_start_milli(bucket: int) -> float:
    return _FIRST_BUCKET_MILLI * ((1 + _GROWTH) ** bucket - 1) / _GROWTH
