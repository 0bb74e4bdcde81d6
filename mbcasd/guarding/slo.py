"""The latency guard: the slow rule that moves a workload's leniency for throttling by what its users see.

Throttling drives the fast path, ten times per second. Latency comes seldom, late and noisy, so it only moves what
that path aims at: a factor on the share of periods that may be throttled, or on the stall budget. It halves the
factor when the objective is violated, raises it by a tenth when there is plenty of room, and rests in between, once
per period at most. A violation also puts the workload under the guard of `throttling`: its need counts as at least
its present limit for the cooldown. So it changes bids, never allocations.

The constants were proposals (algorithms §4.4) and are kept after simulation: the engine over services with queues,
eight loads, 15 minutes each, objectives relative to the best p99 that the load can have (`tests/bench/bench_slo.py`).
With the reflex law, as windows of 30 s over the objective and mean limit:

* 1.3 times the best: 30 % without the guard, 4.7 % with it, for 29 % more CPU and half of the writes.
* 2.5 times: 12.5 % and 4.2 %, for 3 % less CPU. 5 times: 4.7 % and 2.1 %, for 7 % less.
* An objective that the load can hardly keep costs most and brings least: at 1.2 times the best, heavy tails took 59 %
  more CPU to come from 30 to 25 %. The bounds are what ends that.
* × 0.7 instead of × ½ leaves nearly twice the violations, × 0.3 saves a few for 8 % more CPU. × 1.05 and × 1.2 change
  little while the objective is tight; with room, × 1.2 violates half as often again to save 2 %. Room from 0.85 of the
  objective on doubles the violations of tight ones; from 0.5 on it only saves less. 60 s instead of 30 s leave half as
  many violations again. A query that looks back twice as long as the period does little harm.
* Other laws: captain 43 → 12 %, tobit 55 → 7 %, reflex with burst 11 → 4.7 %, with resizes of 2 s 36 → 4.5 %; usage,
  which does not see bursts, 84 → 72 %. A stall budget that is small for ever (20 ms) leaves 24 %.

Not in the proposal: a violation while the workload was not throttled is counted and holds the limit, but tightens
nothing. Less throttling cannot help then, and the CPU would be given later, when it is of no use either.
"""

from enum import Enum
from math import inf
from typing import NamedTuple

from mbcasd.model.demand import Contract, WorkloadClass
from mbcasd.model.slo import LatencyReading
from mbcasd.settings import GuardrailSettings

TIGHTEN = 0.5
RELAX = 1.1
EASY_BELOW = 0.7

# Bounds of the throttling target that the factor may lead to (algorithms §4.4).
LEAST_RATIO = 0.005
LARGEST_RATIO = 0.2
# The other guard must not fire at what this one aims for (algorithms §4.4, consistency).
_GUARD_OVER_TARGET = 3.0

# What is due must not wait for another loop because a clock reads a hair less.
_EARLY_S = 0.01


class Verdict(Enum):
    """What a reading means for the objective."""

    VIOLATED = "violated"
    KEPT = "kept"
    EASY = "easy"  # kept, with so much room that more throttling may be borne


class Slo(NamedTuple):
    """What is remembered of one workload whose latency is known."""

    reading: LatencyReading  # the last one
    leniency: float = 1.0  # factor on the throttling that its law aims at
    moved_at_s: float = -inf  # last violation that was counted, or last move of the factor
    easy_since_s: float | None = None  # since when all readings had plenty of room; None: the last one had not
    violated_at_s: float = -inf  # when it was last seen to be violated
    violations: int = 0  # periods in which it was violated, since the daemon first saw the workload
    is_violated: bool = False
    counted: tuple[int, int] | None = None  # periods and throttled periods at the last reading, cumulative
    throttled_ratio: float | None = None  # share of throttled periods between the last two readings; None: unknown


def objective_s(contract: Contract, guard: GuardrailSettings) -> float | None:
    """The p99 latency that counts as kept, in seconds; None: batch work whose owner named none."""
    if contract.slo_p99_s is not None:
        return contract.slo_p99_s
    return None if contract.workload_class is WorkloadClass.BATCH else guard.slo_latency_target_s


def verdict(reading: LatencyReading, objective: float | None) -> Verdict | None:
    """Judge a reading; None: it cannot be judged, because there is nothing to compare it with.

    A source that only knows whether the objective is kept cannot say that there is room.
    """
    if reading.violated is not None:
        return Verdict.VIOLATED if reading.violated else Verdict.KEPT
    if reading.p99_s is None or objective is None:
        return None
    if reading.p99_s > objective:
        return Verdict.VIOLATED
    return Verdict.EASY if reading.p99_s < EASY_BELOW * objective else Verdict.KEPT


def take(
    slo: Slo | None,
    reading: LatencyReading,
    objective: float | None,
    counted: tuple[int, int] | None,
    guard: GuardrailSettings,
) -> Slo:
    """Take note of a reading, and of the periods and throttled periods that were counted so far; nothing moves yet."""
    if slo is None:
        slo = Slo(reading)
    throttled_ratio = None
    if counted is not None and slo.counted is not None:
        periods, throttled = counted[0] - slo.counted[0], counted[1] - slo.counted[1]
        throttled_ratio = throttled / periods if periods > 0 else 0.0
    is_gap = reading.read_at_s - slo.reading.read_at_s > guard.slo_staleness_s
    since_s = None if is_gap else slo.easy_since_s
    if verdict(reading, objective) is Verdict.EASY:
        since_s = reading.read_at_s if since_s is None else since_s
    else:
        since_s = None
    return slo._replace(reading=reading, easy_since_s=since_s, counted=counted, throttled_ratio=throttled_ratio)


def is_fresh(slo: Slo, guard: GuardrailSettings, now_s: float) -> bool:
    """Whether the last reading still says something."""
    return now_s - slo.reading.read_at_s <= guard.slo_staleness_s


def decide(
    slo: Slo, objective: float | None, target_ratio: float, guard: GuardrailSettings, now_s: float
) -> tuple[Slo, Verdict | None]:
    """Move the leniency if it is time and the last reading is a reason to.

    Without a fresh reading nothing moves: a source that is dead, slow or lying leaves everything as it is.

    Args:
        slo: What is remembered.
        objective: From `objective_s`.
        target_ratio: The share of throttled periods that the settings aim at for this workload: leniency 1.
        guard: For the period and the age at which a reading says nothing any more.
        now_s: Monotonic.

    Returns:
        What to remember, and why: VIOLATED once per period of a violation, EASY where the leniency was raised, KEPT
        where a violation has ended, None where nothing happened.
    """
    if not is_fresh(slo, guard, now_s):
        return slo, None
    found = verdict(slo.reading, objective)
    if found is Verdict.VIOLATED:
        slo = slo._replace(violated_at_s=now_s)
    elif slo.is_violated:
        return slo._replace(is_violated=False), Verdict.KEPT
    if not _is_due(slo.moved_at_s, guard, now_s) or slo.reading.read_at_s <= slo.moved_at_s:
        return slo, None
    if found is Verdict.VIOLATED:
        tightened = _bounded(slo.leniency * TIGHTEN, target_ratio, guard) if may_help(slo) else slo.leniency
        violations = slo.violations + 1
        return slo._replace(leniency=tightened, moved_at_s=now_s, violations=violations, is_violated=True), found
    relaxed = _bounded(slo.leniency * RELAX, target_ratio, guard)
    if _was_easy_for_long(slo, guard) and relaxed > slo.leniency:
        return slo._replace(leniency=relaxed, moved_at_s=now_s), Verdict.EASY
    return slo, None


def may_help(slo: Slo) -> bool:
    """Whether less throttling might make it faster: there was some."""
    return slo.throttled_ratio is None or slo.throttled_ratio >= LEAST_RATIO


def least_need_milli(slo: Slo | None, limit_milli: float, guard: GuardrailSettings, now_s: float) -> float:
    """What its need counts as at least: its present limit until the cooldown after a violation is over, else 0."""
    return limit_milli if slo is not None and now_s - slo.violated_at_s < guard.cooldown_s else 0.0


def _was_easy_for_long(slo: Slo, guard: GuardrailSettings) -> bool:
    """Whether all readings of a whole period had plenty of room, up to the last one."""
    return slo.easy_since_s is not None and _is_due(slo.easy_since_s, guard, slo.reading.read_at_s)


def _is_due(since_s: float, guard: GuardrailSettings, now_s: float) -> bool:
    return now_s - since_s >= guard.slo_period_s - _EARLY_S


def _bounded(leniency: float, target_ratio: float, guard: GuardrailSettings) -> float:
    largest_ratio = min(LARGEST_RATIO, guard.fast_up_threshold_ratio / _GUARD_OVER_TARGET)
    # A target that was set beyond the bounds is the owner's choice: it is not moved further, and not moved back.
    least, most = min(1.0, LEAST_RATIO / target_ratio), max(1.0, largest_ratio / target_ratio)
    return min(most, max(least, leniency))
