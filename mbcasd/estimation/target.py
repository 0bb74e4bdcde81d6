"""How much throttling a workload is meant to bear, for the laws that aim at a share of periods."""

from mbcasd.estimation.law import LawSettings
from mbcasd.model.demand import WorkloadClass

# With the default of 5 %: 2 % for those who mind waiting, 10 % for those who do not (algorithms §3.6).
_CLASS_FACTOR = {WorkloadClass.LATENCY: 0.4, WorkloadClass.STANDARD: 1.0, WorkloadClass.BATCH: 2.0}

# Bounds of a sensible target: below, the sampling window cannot tell it from none; above, the laws' own trigger
# of three times the target would ask for more than all periods.
_LEAST_RATIO = 0.001
_LARGEST_RATIO = 0.3


def target_ratio(settings: LawSettings) -> float:
    """The share of throttled periods to aim at, 0 to 1; cost mode has a larger one of its own."""
    chosen = settings.cost if settings.cost.cost_efficiency_mode else settings.demand
    return min(
        _LARGEST_RATIO, max(_LEAST_RATIO, chosen.target_throttling_ratio * _CLASS_FACTOR[settings.workload_class])
    )
