"""The default law: react to stalled thread-time at once, forget slowly, leave no margin.

It works because throttled *thread-time* is delay, while a count of throttled periods is not (5 ms and 90 ms
count the same); because reacting within 0.3 s makes an error cheap, so that no margin is needed; because the
raise itself refills the period; and because a ten-second maximum as the base and five seconds between decreases
remove the hunting. Found by simulation, confirmed on a real kernel (algorithms §3.7). Tried and worse: margins,
quantiles below the maximum, steps computed from the parallelism, raising on use without stall.

Uneven samples. The law is written for one sample per 100 ms; an interval of n × 100 ms counts as n equal ones:

* the debt halves n times and takes in an n-th of the stall each time, in closed form, also for a broken n;
* the window of ten samples gets round(n) equal parts, so that it always spans about a second;
* the ten-second maximum is kept as ten blocks of about a second, closed by elapsed time. A decrease is
  considered when a block closes, which at 100 ms is the "every tenth sample" of the law, and since blocks and
  decisions coincide the maximum over the blocks *is* the maximum over the last hundred values.

Leniency, the factor of the latency guard, scales the stall budget. Below 1 it also leaves headroom above the peak,
1/√leniency, since a budget of nothing only makes the law quick after the stall: in simulation (`guarding.slo`) the
budget alone left twice as many violations and made three times as many writes. Above 1 there is no headroom to take.

The law remembers no limit except the one before its last decrease: the limit in force is told with every
interval, so that whoever else moves it does no harm.
"""

from functools import lru_cache
from math import ceil, exp2, inf
from struct import Struct
from typing import NamedTuple

from mbcasd.estimation.bounds import within
from mbcasd.estimation.law import Law, LawSettings, Situation
from mbcasd.model.demand import Advice, Proposal, WorkloadClass
from mbcasd.model.readings import Interval
from mbcasd.settings import Preset

SAMPLE_S = 0.1  # the law's own clock
FLOOR_MILLI = 100.0  # part of the law: without it nine of ten rare jobs are late
STEP_MILLI = 10.0  # proposals are rounded up to it

# All of the following are the law's constants (algorithms §3.7).
_RAISE_GAP_S = 0.2
_SATURATED_GAP_S = 1.0
_STREAK_S = 1.0
_ROLLBACK_S = 1.0
_LOWER_AFTER_RAISE_S = 2.0
_LOWER_GAP_S = 5.0
_RECENT_SAMPLES = 10
_BLOCK_SAMPLES = 10.0
_BLOCKS = 10
_SATURATED_MS = 800.0
_SATURATED_STALL_MS = 50.0
_GATE_SHARE = 0.9
_LOWER_BELOW = 0.85
_GROWTH = 1.3
_LARGEST_STEP = 2.0

# A tenth of a sample: what is due after 0.2 s must not wait for 0.3 because a sample came a millisecond early.
_SLACK_S = 0.01
# Above one CPU by more than the clock ticks of the usage counter can fake: this workload uses two or more.
_WIDE_CORES = 1.05
_IDLE_CORES = 0.005
_PROBE_STEP = 0.99
# The debt saturates near 200 × (min(threads, CPUs) − limit), so a larger budget would never be exceeded; per CPU.
_LARGEST_BUDGET_MS = 100.0
# Pressure is wall time: it saturates at 200 ms of debt however many CPUs wait, so half of that is the largest
# budget that can be exceeded, just as 100 per CPU is for throttled time.
_LARGEST_PRESSURE_BUDGET_MS = 100.0


class Constants(NamedTuple):
    """What distinguishes one container's law from another's."""

    theta_ms: float  # stall budget, thread-ms
    theta_wide_ms: float  # the same for a workload that is seen to use two CPUs or more
    period_ms: float  # quota period
    averaged: int  # use is averaged over so many samples before its maximum is taken
    gate_samples: int  # pressure counts where so many samples used up a period's quota
    idle_decay: bool
    probe: bool


class Seen(NamedTuple):
    """One sample of 100 ms, or an equal part of a longer one."""

    usage_ms: float
    cores: float
    throttled_periods: float
    throttled_ms: float


# The last second is kept as one object instead of fifty: on a busy node each workload's memory has left the cache
# when its turn comes, and touching fewer objects took a tenth off the daemon's CPU (measured).
_SEEN = Struct("dddd")
_RECENT_BYTES = _SEEN.size * _RECENT_SAMPLES


class State(NamedTuple):
    """What the law remembers of one container."""

    constants: Constants
    debt_ms: float = 0.0
    streak: int = 0
    next_streak: int = 0  # what the streak becomes if the last proposal is granted
    raised_at_s: float = -inf
    lowered_at_s: float = -inf
    lowered_from_milli: float = 0.0
    recent: bytes = b""  # the last second, packed: see `_SEEN`
    block_samples: float = 0.0  # how full the open block is
    block_peak_cores: float = 0.0
    peaks_cores: tuple[float, ...] = ()  # of the closed blocks, the last ten seconds
    calm_blocks: int = 0  # without any stall, since the last stall or decrease
    unproven: int = 0  # samples with pressure that no throttled period has followed yet


def stall_budget_ms(settings: LawSettings, *, wide: bool = False) -> float:
    """θ in thread-ms: how much stall is bearable before the limit goes up.

    The debt saturates near 200 × (min(threads, CPUs) − limit), so a budget over 100 per CPU would never be
    exceeded. Cost mode doubles the budget, as it doubles the throttling target of the other laws; a budget
    that was set by hand is taken as it is.

    Args:
        settings: Preset, class, CPUs, and the budget that was set, if one was.
        wide: The workload is seen to use two CPUs or more.
    """
    largest_ms = _LARGEST_BUDGET_MS * max(1, settings.cpus)
    if settings.demand.stall_budget_ms is not None:
        return min(largest_ms, settings.demand.stall_budget_ms)
    if settings.workload_class is WorkloadClass.BATCH:
        return largest_ms
    if settings.workload_class is WorkloadClass.LATENCY:
        budget_ms = 0.0 if settings.preset is Preset.HL else 40.0
    elif settings.preset is Preset.HL:
        budget_ms = 40.0
    else:
        budget_ms = 150.0 if settings.preset is Preset.H and wide else 80.0
    return min(largest_ms, budget_ms * (2 if settings.cost.cost_efficiency_mode else 1))


def start(settings: LawSettings) -> State:
    """Know nothing yet. Preset AUTO, where nobody decided it, is K."""
    period_ms = settings.period_s * 1000
    return State(
        Constants(
            theta_ms=stall_budget_ms(settings),
            theta_wide_ms=stall_budget_ms(settings, wide=True),
            period_ms=period_ms,
            averaged=5 if settings.preset is Preset.HL else 1,
            gate_samples=ceil(period_ms / 100 - 1e-9) + 1,
            idle_decay=settings.cost.idle_decay,
            probe=settings.cost.probe,
        )
    )


def observe(state: State, interval: Interval, situation: Situation) -> tuple[State, Proposal]:
    """Take in one interval and say whether the limit should move.

    Called a thousand times per second on a busy node, hence positional tuples. A raise or a decrease changes
    nothing in the state until it is settled.
    """
    (
        constants,
        debt_ms,
        streak,
        next_streak,
        raised_at_s,
        lowered_at_s,
        lowered_from_milli,
        recent,
        block_samples,
        block_peak_cores,
        peaks_cores,
        calm_blocks,
        unproven,
    ) = state
    samples = interval.elapsed_s / SAMPLE_S
    recent = _take_in(recent, interval, samples)
    stall_ms = _stall_ms(constants, recent, interval, situation.limit_milli, unproven)
    # n halvings with an n-th of the stall each: s/n × (1 + ½ + …) = s/n × 2 × (1 − 2⁻ⁿ), which is s for n = 1.
    kept = exp2(-samples)
    debt_ms = debt_ms * kept + stall_ms / samples * 2 * (1 - kept)
    if stall_ms > 0:
        calm_blocks = -1  # the open block does not count either
        unproven += 1
    if interval.throttled_periods:
        unproven = 0

    block_samples += samples
    cores = _cores(interval) if constants.averaged == 1 else _averaged_cores(recent, constants.averaged)
    block_peak_cores = max(block_peak_cores, cores)
    block_closes = block_samples >= _BLOCK_SAMPLES - 0.5
    if block_closes:
        # A long interval fills several blocks with the same value.
        filled = min(_BLOCKS, int((block_samples + 0.5) / _BLOCK_SAMPLES))
        peaks_cores = (peaks_cores + (block_peak_cores,) * filled)[-_BLOCKS:]
        block_samples = block_peak_cores = 0.0
        calm_blocks += 1

    after = State(
        constants,
        debt_ms,
        streak,
        next_streak,
        raised_at_s,
        lowered_at_s,
        lowered_from_milli,
        recent,
        block_samples,
        block_peak_cores,
        peaks_cores,
        calm_blocks,
        unproven,
    )
    if not situation.in_flight:
        if stall_ms > 0 or interval.throttled_periods:
            reason = _why_raise(after, interval, stall_ms, situation)
            if reason:
                return _raise(after, interval.ended_at_s, situation, reason)
        if block_closes:
            proposal = _lower(after, interval.ended_at_s, situation)
            if proposal is not None:
                return after, proposal
    return after, _keep(situation.limit_milli, situation.floor_milli, situation.ceiling_milli)


@lru_cache(maxsize=1024)
def _keep(limit_milli: float, floor_milli: float, ceiling_milli: float) -> Proposal:
    """Be content with the limit in force; by far the most frequent answer, so it is made once per limit."""
    return Proposal(Advice.KEEP, within(limit_milli, Situation(limit_milli, floor_milli, ceiling_milli)))


def settle(state: State, proposal: Proposal, before_milli: float, granted_milli: float, now_s: float) -> State:
    """Take note of what the market granted.

    Only a move in the proposed direction counts. What the price withholds leaves the debt as it is and the streak
    where it was, or else a container that is held back for a minute would leap once it is free.
    """
    if proposal.advice is Advice.RAISE and granted_milli > before_milli:
        return state._replace(debt_ms=state.debt_ms / 2, streak=state.next_streak, raised_at_s=now_s)
    if proposal.advice is Advice.LOWER and granted_milli < before_milli:
        return state._replace(lowered_at_s=now_s, lowered_from_milli=before_milli, calm_blocks=0)
    return state


def _take_in(recent: bytes, interval: Interval, samples: float) -> bytes:
    """Append an interval to the last second, a long one in equal parts."""
    _, _, usage_usec, _, throttled, throttled_usec, _, _ = interval
    cores = _cores(interval)
    if samples < 1.5:
        return recent[_SEEN.size - _RECENT_BYTES :] + _SEEN.pack(
            usage_usec / 1000, cores, throttled, throttled_usec / 1000
        )
    parts = round(samples)
    part = _SEEN.pack(usage_usec / 1000 / parts, cores, throttled / parts, throttled_usec / 1000 / parts)
    return (recent + part * min(parts, _RECENT_SAMPLES))[-_RECENT_BYTES:]


def _cores(interval: Interval) -> float:
    """Mean use in CPUs. The usage counter moves in ticks of 4 ms: over much less than a sample it says nothing."""
    return interval.usage_usec / max(interval.elapsed_s, SAMPLE_S / 2) / 1e6


def _unpack(recent: bytes) -> list[Seen]:
    """The samples of the last second, oldest first."""
    return [Seen(*fields) for fields in _SEEN.iter_unpack(recent)]


def _stall_ms(constants: Constants, recent: bytes, interval: Interval, limit_milli: float, unproven: int) -> float:
    """Time lost to the limit: from pressure where the kernel has it, else the throttled time.

    Throttled time is credited when a period ends; pressure shows the same stall before. But it shows what the
    neighbours did as well, so it counts only if throttled periods moved or a period's quota was used up. The
    latter is a guess, and a generous one: it sums a sample more than a period has. Unless throttled periods
    move within a period, it was wrong, and no such guess is made until they do.
    """
    if interval.full_usec is None:
        return interval.throttled_usec / 1000
    if interval.full_usec and not interval.throttled_periods:
        used_ms = sum([seen.usage_ms for seen in _unpack(recent)[-constants.gate_samples :]])
        if unproven >= constants.gate_samples or used_ms < _GATE_SHARE * limit_milli / 1000 * constants.period_ms:
            return 0.0
    return interval.full_usec / 1000


def _averaged_cores(recent: bytes, averaged: int) -> float:
    last = _unpack(recent)[-averaged:]
    return sum([seen.cores for seen in last]) / len(last)


def _why_raise(state: State, interval: Interval, stall_ms: float, situation: Situation) -> str:
    """Say why the limit must go up now; empty: it need not."""
    since_raise_s = interval.ended_at_s - state.raised_at_s + _SLACK_S
    if since_raise_s < _RAISE_GAP_S:
        return ""
    theta_ms, _, period_ms, *_ = state.constants
    if state.constants.theta_wide_ms != theta_ms and max(state.peaks_cores, default=0.0) >= _WIDE_CORES:
        theta_ms = state.constants.theta_wide_ms
    if situation.leniency != 1.0:
        theta_ms = min(theta_ms * situation.leniency, max(theta_ms, _LARGEST_BUDGET_MS * situation.cpus))
    if interval.full_usec is not None:
        theta_ms = min(theta_ms, _LARGEST_PRESSURE_BUDGET_MS)
    if stall_ms > 0 and state.debt_ms >= theta_ms:
        return f"stall debt {state.debt_ms:.0f} ms >= {theta_ms:.0f} ms"
    if not interval.throttled_periods or since_raise_s < _SATURATED_GAP_S:
        return ""
    # Throttled nearly all the time by a little, which the debt never sums up. Parts of a long interval sum to a
    # whole number only up to rounding.
    recent = _unpack(state.recent)
    throttled_ms = sum([seen.throttled_periods for seen in recent]) * period_ms
    if throttled_ms < _SATURATED_MS - 1e-6:
        return ""
    stalled_ms = sum([seen.throttled_ms for seen in recent])
    return "throttled nearly all the time" if stalled_ms >= _SATURATED_STALL_MS - 1e-6 else ""


def _raise(state: State, now_s: float, situation: Situation, reason: str) -> tuple[State, Proposal]:
    limit_milli = situation.limit_milli
    streak = state.streak + 1 if now_s - state.raised_at_s <= _STREAK_S + _SLACK_S else 0
    # The exponent is cut where the step is at its largest anyway, so that no streak overflows.
    need_milli = min(_LARGEST_STEP, _GROWTH ** (1 + min(streak, 10))) * limit_milli
    if now_s - state.lowered_at_s <= _ROLLBACK_S + _SLACK_S:
        need_milli = max(need_milli, min(state.lowered_from_milli, 2 * limit_milli))
    need_milli = _bounded(need_milli, situation)
    if need_milli > limit_milli:
        return state._replace(next_streak=streak), Proposal(Advice.RAISE, need_milli, urgent=True, reason=reason)
    # The ceiling swallows it. No market withheld anything, so it counts as done.
    state = state._replace(debt_ms=state.debt_ms / 2, streak=streak, next_streak=streak, raised_at_s=now_s)
    return state, Proposal(Advice.KEEP, need_milli, urgent=False, reason=f"{reason}, at its ceiling")


def _lower(state: State, now_s: float, situation: Situation) -> Proposal | None:
    """Consider a decrease; called when a block closes, so the newest block is complete."""
    if (
        now_s - state.raised_at_s + _SLACK_S < _LOWER_AFTER_RAISE_S
        or now_s - state.lowered_at_s + _SLACK_S < _LOWER_GAP_S
    ):
        return None
    limit_milli, peak_milli = situation.limit_milli, max(state.peaks_cores) * 1000
    headroom = situation.leniency**-0.5 if situation.leniency < 1 else 1.0
    if state.constants.idle_decay and state.peaks_cores[-1] < _IDLE_CORES:
        need_milli, reason = 0.0, "idle"
    elif peak_milli * headroom <= _LOWER_BELOW * limit_milli:
        need_milli, reason = max(limit_milli / 2, peak_milli * headroom), f"peak of 10 s is {peak_milli:.0f}m"
    elif state.constants.probe and state.calm_blocks > 0:
        # One percent per calm second, until it is enough for the engine to act upon, or until it stalls.
        need_milli, reason = max(limit_milli / 2, limit_milli * _PROBE_STEP**state.calm_blocks), "probing: no stall"
    else:
        return None
    need_milli = _bounded(need_milli, situation)
    return Proposal(Advice.LOWER, need_milli, urgent=False, reason=reason) if need_milli < limit_milli else None


def _bounded(need_milli: float, situation: Situation) -> float:
    rounded_milli = ceil(need_milli / STEP_MILLI - 1e-9) * STEP_MILLI
    return within(max(FLOOR_MILLI, rounded_milli), situation)


LAW = Law(start, observe, settle, FLOOR_MILLI)
