"""What the engine remembers between two steps.

All of it is frozen: a step returns a new state and an old one stays valid. What changes ten times per second
stands in `Pulse`, a tuple that is cheap to make; what changes seldom in `Track`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import NamedTuple

from mbcasd.estimation.law import LawState, Situation
from mbcasd.guarding.slo import Slo
from mbcasd.guarding.throttling import Guarded
from mbcasd.model.decision import HeldBy, RunMode, Workload
from mbcasd.model.demand import Demand, Proposal
from mbcasd.model.identity import WorkloadId
from mbcasd.model.readings import CpuSample, LimitReading
from mbcasd.model.resizing import Resize
from mbcasd.settings import Preset, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What the engine is told once."""

    settings: Settings
    run_mode: RunMode
    preset: Preset  # AUTO has been decided: K, H or HL
    burst: bool  # set burst = quota with every resize
    cpus: int  # CPUs that workloads may run on
    capacity_milli: float | None = None  # None: measured; else what a clearing may hand out, as it is
    # Whether a limit that changed from outside is the new level, because whoever knows who changed it says so in the
    # contract (Kubernetes); else it is somebody else's, and left alone (a host).
    follows_changes: bool = False


class Waiting(NamedTuple):
    """Samples that wait, the newest first: a list of links, because adding to it touches nothing that is there."""

    sample: CpuSample
    before: "Waiting | None"


class Pulse(NamedTuple):
    """What one workload's last sample left behind."""

    sample: CpuSample
    law: LawState
    proposal: Proposal  # the one that stands; see `watch.STANDS_FOR_S`
    proposed_at_s: float
    demand_from: CpuSample  # where the demand window began
    guard_from: CpuSample  # where the guard's window began
    fed: CpuSample  # the last sample that the law has taken in
    waiting: "Waiting | None" = None  # untroubled ones since then; see `watch`


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One workload that exists."""

    workload: Workload
    situation: Situation  # what its law may know; renewed when limit or contract change
    known_from_start: bool  # it was there before the daemon, so no start-up grace
    appeared_at_s: float
    limit: LimitReading | None = None  # in force, read back; None: not read yet
    pending: Resize | None = None
    changed_at_s: float = -inf  # last confirmed change
    raised_at_s: float = -inf
    refused_until_s: float = -inf  # the last resize failed: leave it alone for so long
    refusals: int = 0
    owner_held: bool = False  # somebody else set its limit: left alone until the daemon is restarted or reloaded
    guarded: Guarded | None = None
    slo: Slo | None = None  # None: its latency is not known
    demand: Demand | None = None
    forecast: object = None  # of `estimation.forecast`
    smoothed_milli: float | None = None
    target_milli: float | None = None  # of the last clearing
    cleared_need_milli: float | None = None  # its need in that clearing
    held_by: HeldBy = HeldBy.NOT_MANAGED

    @property
    def in_market(self) -> bool:
        """Whether the next clearing decides over it."""
        return self.workload.managed and not self.owner_held and self.limit is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What there is to hand out."""

    cpu_milli: float
    unmanaged_milli: float = 0.0  # smoothed use of all that is not managed
    read_at_s: float | None = None
    capacity_milli: float = 0.0  # moves in steps, so that noise does not move limits


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """All that the engine remembers."""

    config: EngineConfig
    started_at_s: float
    capacity: Capacity
    tracks: Mapping[WorkloadId, Track] = field(default_factory=dict)
    pulses: Mapping[WorkloadId, Pulse] = field(default_factory=dict)
    guard_due_s: float
    clear_due_s: float
    wanted: str = ""  # why the market must be cleared before it is due; empty: no reason
    retry_due_s: float = inf  # increases wait for room that decreases under way will free


def start(config: EngineConfig, now_s: float) -> EngineState:
    """The state before anything was seen.

    The first optimizer's pass comes after one window of samples, not at once: nothing is known yet.
    """
    loops = config.settings.loops
    cpu_milli = config.cpus * 1000.0
    return EngineState(
        config=config,
        started_at_s=now_s,
        capacity=Capacity(
            cpu_milli=cpu_milli,
            capacity_milli=config.capacity_milli
            if config.capacity_milli is not None
            else cpu_milli * (1 - config.settings.market.system_reserve_percent / 100),
        ),
        guard_due_s=now_s + loops.fast_loop_interval_s,
        clear_due_s=now_s + min(loops.slow_loop_interval_s, 2.0),
    )


def reconfigure(state: EngineState, config: EngineConfig, now_s: float) -> EngineState:
    """Take over changed settings: laws start afresh, and limits that somebody else had set are managed again."""
    fresh = start(config, now_s)
    enabled = config.settings.guardrail.enabled
    tracks = {name: _reconsidered(track, keep_slo=enabled) for name, track in state.tracks.items()}
    capacity = replace(state.capacity, capacity_milli=fresh.capacity.capacity_milli)
    return replace(fresh, started_at_s=state.started_at_s, capacity=capacity, tracks=tracks, wanted="settings changed")


def _reconsidered(track: Track, *, keep_slo: bool) -> Track:
    slo = track.slo if keep_slo else None
    situation = track.situation._replace(leniency=slo.leniency if slo is not None else 1.0)
    return replace(track, owner_held=False, guarded=None, slo=slo, situation=situation)
