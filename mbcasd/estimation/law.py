"""What every estimator looks like: start, observe, settle.

A law sees one interval after the other and proposes a need. Whether the market grants it is settled later,
so that what the market withholds never feeds back into the law.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from mbcasd.model.demand import Proposal, WorkloadClass
from mbcasd.model.readings import Interval
from mbcasd.settings import CostSettings, DemandSettings, Preset

# A law's memory is its own business: a frozen value that only its functions look into.
LawState = Any


class Situation(NamedTuple):
    """What a law may know besides the counters."""

    limit_milli: float  # in force, read back; an unlimited workload's is its ceiling
    floor_milli: float  # of the contract
    ceiling_milli: float  # of the contract or the node
    in_flight: bool = False  # a resize is under way: observe, but propose nothing
    cpus: int = 1  # CPUs that the workload may run on
    # How much of its usual throttling it may bear, as a factor: the latency guard lowers it where the tail is too
    # slow. Each law says what that means to it.
    leniency: float = 1.0


class LawSettings(NamedTuple):
    """The part of the settings that a law is started with."""

    demand: DemandSettings
    cost: CostSettings
    preset: Preset  # AUTO has been decided already: K, H or HL
    workload_class: WorkloadClass
    period_s: float = 0.1  # quota period in force
    cpus: int = 1


class Law(NamedTuple):
    """One estimator, as three pure functions and what it would never go below."""

    start: Callable[[LawSettings], LawState]
    observe: Callable[[LawState, Interval, Situation], tuple[LawState, Proposal]]
    # settle(state, proposal, limit before, limit granted, now_s): called after the market answered a RAISE or a LOWER
    # that was acted upon (limit granted differs from the limit before); a withheld one is simply never settled.
    settle: Callable[[LawState, Proposal, float, float, float], LawState]
    # It proposes no decrease to less than this, in millicores.
    floor_milli: float = 0.0
