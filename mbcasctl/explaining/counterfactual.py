"""What a workload would have had under another policy, from the samples that were recorded under this one.

Open loop: the work is what it was seen to do, when it was seen to do it. A policy that holds it back makes the rest
wait and be done later, so that throttling and catching up show; but work that was never offered, because a caller gave
up or slowed down, is not in the record. Within a sample work is taken as even, so short bursts are flattered.

Every policy starts from the owner's limit, as it would have.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from mbcasctl.explaining import vpa
from mbcasd.estimation import window
from mbcasd.estimation.law import LawSettings, Situation
from mbcasd.estimation.laws import LAWS
from mbcasd.model.demand import Advice, Contract
from mbcasd.model.readings import CpuSample, Interval
from mbcasd.settings import CostSettings, DemandSettings, EstimatorKind, Preset

# Longer gaps are the daemon's absence, not the workload's idleness.
LONGEST_GAP_S = 120.0

# A limit that moves by less is the same.
_SAME_MILLI = 1.0


class Policy(StrEnum):
    """Who could have set the limit instead."""

    STATIC = "static"
    VPA = "vpa"
    CAPTAIN = "captain"
    USAGE = "usage"
    TOBIT = "tobit"
    REFLEX = "reflex"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """What one policy would have led to."""

    policy: Policy
    limit_milli: float | None  # at the end; None: unlimited
    mean_limit_milli: float | None
    throttled_ratio: float  # share of the periods in which it would have waited
    changes: int
    acts_after_s: float | None = (
        None  # vpa: how old the workload must be before it is acted upon; None: at once or never
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all policies are told alike."""

    contract: Contract
    cpus: int
    period_s: float = 0.1
    demand: DemandSettings = field(default_factory=DemandSettings)
    preset: Preset = Preset.K

    @property
    def first_limit_milli(self) -> float:
        """What a policy starts from: the owner's limit, as far as the contract allows it, or all that it allows."""
        owner_milli = self.contract.owner_limit_milli
        return self.contract.cap_milli if owner_milli is None else min(self.contract.cap_milli, owner_milli)


class Throttle:
    """A quota and the work that waits behind it."""

    def __init__(self, cpus: int, period_s: float) -> None:
        """Begin with nothing waiting."""
        self._cpus, self._period_s = cpus, period_s
        self._waiting_usec = 0.0
        self.periods = self.throttled_periods = 0

    def serve(self, recorded: Interval, limit_milli: float | None) -> Interval:
        """Let the recorded work pass under a limit; returns what the counters would have shown."""
        elapsed_usec = recorded.elapsed_s * 1e6
        periods = max(1, round(recorded.elapsed_s / self._period_s))
        room_usec = elapsed_usec * (self._cpus if limit_milli is None else min(self._cpus, limit_milli / 1000))
        wanted_usec = self._waiting_usec + recorded.usage_usec
        served_usec = min(wanted_usec, room_usec)
        self._waiting_usec = wanted_usec - served_usec
        throttled = throttled_usec = 0
        if limit_milli is not None and self._waiting_usec > elapsed_usec * 1e-3:
            throttled = periods
            # As many CPUs want to run as were seen to, or as the waiting work would keep busy, if that is less.
            seen_cpus = (recorded.usage_usec + recorded.throttled_usec) / elapsed_usec
            cpus = min(float(self._cpus), max(1.0, seen_cpus))
            throttled_usec = round(max(0.0, min(cpus * elapsed_usec - served_usec, self._waiting_usec)))
        self.periods += periods
        self.throttled_periods += throttled
        return Interval(recorded.ended_at_s, recorded.elapsed_s, round(served_usec), periods, throttled, throttled_usec)

    @property
    def throttled_ratio(self) -> float:
        """Share of all periods so far that were throttled."""
        return self.throttled_periods / self.periods if self.periods else 0.0


def intervals(samples: Iterable[CpuSample]) -> list[Interval]:
    """Turn recorded samples into intervals; resets, restarts and gaps are left out."""
    between = (window.between(before, after) for before, after in pairwise(samples))
    return [interval for interval in between if interval is not None and interval.elapsed_s <= LONGEST_GAP_S]


def compare(policies: Sequence[Policy], recorded: Sequence[Interval], setting: Setting) -> tuple[Counterfactual, ...]:
    """Play each policy over the recorded intervals, oldest first.

    Returns:
        One result per policy in their order; nothing where nothing was recorded.
    """
    if not recorded:
        return ()
    return tuple(_play(policy, recorded, setting) for policy in policies)


def _play(policy: Policy, recorded: Sequence[Interval], setting: Setting) -> Counterfactual:
    if policy is Policy.STATIC:
        return _static(recorded, setting)
    if policy is Policy.VPA:
        return _vpa(recorded, setting)
    return _law(policy, recorded, setting)


def _static(recorded: Sequence[Interval], setting: Setting) -> Counterfactual:
    limit_milli = setting.contract.owner_limit_milli
    throttle = Throttle(setting.cpus, setting.period_s)
    for interval in recorded:
        throttle.serve(interval, limit_milli)
    return Counterfactual(
        policy=Policy.STATIC,
        limit_milli=limit_milli,
        mean_limit_milli=limit_milli,
        throttled_ratio=throttle.throttled_ratio,
        changes=0,
    )


def _law(policy: Policy, recorded: Sequence[Interval], setting: Setting) -> Counterfactual:
    """A law whose proposals are granted at once, within the contract."""
    contract, kind = setting.contract, EstimatorKind(policy.value)
    law = LAWS[kind]
    state = law.start(
        LawSettings(
            setting.demand,
            CostSettings(),
            setting.preset,
            contract.workload_class,
            setting.period_s,
            setting.cpus,
        )
    )
    throttle = Throttle(setting.cpus, setting.period_s)
    limit_milli, limit_seconds, seconds, changes = setting.first_limit_milli, 0.0, 0.0, 0
    for interval in recorded:
        limit_seconds += limit_milli * interval.elapsed_s
        seconds += interval.elapsed_s
        served = throttle.serve(interval, limit_milli)
        situation = Situation(limit_milli, contract.floor_milli, contract.cap_milli, False, setting.cpus)
        state, proposal = law.observe(state, served, situation)
        if proposal.advice is not Advice.KEEP and abs(proposal.need_milli - limit_milli) > _SAME_MILLI:
            state = law.settle(state, proposal, limit_milli, proposal.need_milli, interval.ended_at_s)
            limit_milli = proposal.need_milli
            changes += 1
    return Counterfactual(
        policy=policy,
        limit_milli=limit_milli,
        mean_limit_milli=limit_seconds / seconds,
        throttled_ratio=throttle.throttled_ratio,
        changes=changes,
    )


def _vpa(recorded: Sequence[Interval], setting: Setting) -> Counterfactual:
    """The recommendation from what it would have seen under its own limit, and when it would be acted upon."""
    throttle, recommender = Throttle(setting.cpus, setting.period_s), vpa.Recommender()
    limit_milli, limit_seconds, seconds, changes = setting.first_limit_milli, 0.0, 0.0, 0
    acts_after_s: float | None = None
    for minute in _minutes(recorded):
        served_usec, minute_s = 0, 0.0
        for interval in minute:
            served_usec += throttle.serve(interval, limit_milli).usage_usec
            minute_s += interval.elapsed_s
        seconds += minute_s
        limit_seconds += limit_milli * minute_s
        recommender.see(served_usec / minute_s / 1000, seconds)
        target_milli, acts_after_s = recommender.target_milli, recommender.acts_after_s(limit_milli)
        if target_milli is not None and acts_after_s is not None and seconds >= acts_after_s:
            limit_milli, acts_after_s = min(setting.contract.cap_milli, target_milli), None
            changes += 1
    target_milli = recommender.target_milli
    wanted_milli = limit_milli if acts_after_s is None or target_milli is None else target_milli
    return Counterfactual(
        policy=Policy.VPA,
        limit_milli=min(setting.contract.cap_milli, wanted_milli),
        mean_limit_milli=limit_seconds / seconds,
        throttled_ratio=throttle.throttled_ratio,
        changes=changes,
        acts_after_s=acts_after_s,
    )


def _minutes(recorded: Sequence[Interval]) -> Iterator[list[Interval]]:
    """What is seen between two samples of its metrics; a rest of less than a minute counts as one."""
    minute: list[Interval] = []
    spanned_s = 0.0
    for interval in recorded:
        minute.append(interval)
        spanned_s += interval.elapsed_s
        if spanned_s >= vpa.SAMPLE_S - 0.5:
            yield minute
            minute, spanned_s = [], 0.0
    if minute:
        yield minute
