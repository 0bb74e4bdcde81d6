"""Time and step bounds as a window for one clearing.

Hard bounds win over the acknowledgement gate, that over the guard, that over the step cap, that over the
cooldown (algorithms §4.4). All of them stand inside the solver: a bound applied after the solve would break
the bound on the sum (algorithms §0.11).
"""

from typing import NamedTuple

from mbcasd.model.decision import HeldBy
from mbcasd.settings import ResizeSettings


class Window(NamedTuple):
    """Bounds for one clearing, and what set each of them."""

    lower_milli: float
    upper_milli: float | None
    lower_by: HeldBy
    upper_by: HeldBy


def frozen(limit_milli: float, held_by: HeldBy) -> Window:
    """A window that moves nothing: a resize is pending, or the last one was refused."""
    return Window(limit_milli, limit_milli, held_by, held_by)


def window(
    limit_milli: float,
    resize: ResizeSettings,
    *,
    may_lower: bool,
    may_raise: bool,
    guard_floor_milli: float,
) -> Window:
    """Say how far one workload's limit may move in this clearing.

    Args:
        limit_milli: In force now, in millicores.
        resize: For the step factor.
        may_lower: Cooldown and grace are over.
        may_raise: The gap since the last raise is over.
        guard_floor_milli: From the guardrail; never above the limit in force, since it only blocks decreases.
    """
    lower_milli, lower_by = limit_milli / resize.max_step_factor, HeldBy.STEP
    guard_floor_milli = min(guard_floor_milli, limit_milli)
    if not may_lower:
        lower_milli, lower_by = limit_milli, HeldBy.COOLDOWN
    if guard_floor_milli >= lower_milli and guard_floor_milli > 0:
        lower_milli, lower_by = guard_floor_milli, HeldBy.GUARD
    if may_raise:
        return Window(lower_milli, limit_milli * resize.max_step_factor, lower_by, HeldBy.STEP)
    return Window(lower_milli, limit_milli, lower_by, HeldBy.COOLDOWN)
