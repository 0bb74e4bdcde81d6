"""Real millicores to steps that a kernel or a service manager can enforce.

Largest remainder: everyone gets the step below, and what that leaves goes, one step each, to those who lost most;
ties by position. Bounds and capacity are promises, the grid is a wish: whoever's bounds leave no step that fits
keeps the exact number.

Source: algorithms §1.7.
"""

from collections.abc import Sequence
from math import ceil, floor, fsum

# A number this close to a step, in steps, is that step: 499.99999999999994 is 500.
_NOISE = 1e-9


def to_quantum(
    amounts: Sequence[float], low: Sequence[float], high: Sequence[float], capacity_milli: float, quantum_milli: float
) -> list[float]:
    """Round an allocation to multiples of a quantum.

    Args:
        amounts: Exact allocation, in millicores, each within its bounds.
        low: The least each may get.
        high: The most each may get.
        capacity_milli: What the sum may not exceed.
        quantum_milli: The step, positive.

    Returns:
        Amounts within their bounds that do not sum to more than the capacity, each less than one step from the
        exact one. Where every bound is a multiple of the step, so is every amount.
    """
    steps = [x / quantum_milli for x in amounts]
    rounded = [floor(step + _NOISE) for step in steps]
    exact: dict[int, float] = {}
    for i, (count, lo) in enumerate(zip(rounded, low, strict=True)):
        if count * quantum_milli < lo:
            least = ceil(lo / quantum_milli - _NOISE)
            if least * quantum_milli <= high[i] * (1 + _NOISE):
                rounded[i] = least
            else:
                rounded[i], exact[i] = 0, amounts[i]

    capacity = _room(capacity_milli, exact, quantum_milli)
    wanted = round(fsum(steps) - fsum(steps[i] for i in exact))
    spare = min(capacity, wanted) - sum(rounded)
    if spare > 0:
        # In billionths of a step: equal losses that floats made different by a bit are still equal, and ties go by
        # position. round() to nine digits would say the same, five times slower.
        lost = [int((step - count) / _NOISE + 0.5) for step, count in zip(steps, rounded, strict=True)]
        losers = [
            i
            for i in sorted(range(len(lost)), key=lost.__getitem__, reverse=True)
            if lost[i] > 0 and i not in exact and (rounded[i] + 1) * quantum_milli <= high[i] * (1 + _NOISE)
        ]
        for i in losers[:spare]:
            rounded[i] += 1
    elif sum(rounded) > capacity:
        _take_back(rounded, exact, amounts, capacity_milli, quantum_milli)
    given = [
        h if (x := count * quantum_milli) > h else lo if x < lo else x  # noqa: FURB136  max() takes three times as long
        for count, lo, h in zip(rounded, low, high, strict=True)
    ]
    for i, milli in exact.items():
        given[i] = milli
    return given


def _take_back(
    rounded: list[int], exact: dict[int, float], amounts: Sequence[float], capacity_milli: float, quantum_milli: float
) -> None:
    """Where lower bounds that were rounded up do not fit, let the most generous roundings keep exact numbers."""
    generosity = {i: count - amounts[i] / quantum_milli for i, count in enumerate(rounded) if i not in exact}
    for i in sorted(generosity, key=lambda i: (-generosity[i], -i)):
        rounded[i], exact[i] = 0, amounts[i]
        if sum(rounded) <= _room(capacity_milli, exact, quantum_milli):
            return


def _room(capacity_milli: float, exact: dict[int, float], quantum_milli: float) -> int:
    """How many steps fit beside those who keep exact numbers."""
    return floor(-fsum((*exact.values(), -capacity_milli)) / quantum_milli + _NOISE)
