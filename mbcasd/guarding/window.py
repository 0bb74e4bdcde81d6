"""Time and step bounds as a window for one clearing.

Hard bounds win over the acknowledgement gate, that over the step cap and the cooldown (algorithms §4.4). All of
them stand inside the solver: a bound applied after the solve would break the bound on the sum (algorithms §0.11).
"""

from typing import NamedTuple

from mbcasd.model.decision import HeldBy
from mbcasd.settings import ResizeSettings


class Window(NamedTuple):
    """Bounds for one clearing, and what set each of them."""

    lower_milli: float
    upper_milli: float
    lower_by: HeldBy
    upper_by: HeldBy


def window(limit_milli: float, resize: ResizeSettings, *, may_lower: bool, may_raise: bool) -> Window:
    """Say how far one workload's limit may move in this clearing.

    Args:
        limit_milli: In force now, in millicores.
        resize: For the step factor.
        may_lower: Cooldown and grace are over.
        may_raise: The gap since the last raise is over.
    """
    lower_milli, lower_by = limit_milli / resize.max_step_factor, HeldBy.STEP
    upper_milli, upper_by = limit_milli * resize.max_step_factor, HeldBy.STEP
    if not may_lower:
        lower_milli, lower_by = limit_milli, HeldBy.COOLDOWN
    if not may_raise:
        upper_milli, upper_by = limit_milli, HeldBy.COOLDOWN
    return Window(lower_milli, upper_milli, lower_by, upper_by)
