"""The one primitive under every mechanism: raise a common level until everything is handed out.

Each of n parties gets `clamp(start + rate * level, low, high)`. The sum never falls as the level rises, so the
level at which it meets the total can be found exactly: sort the levels at which somebody starts to rise or
reaches his high, sweep them, then solve the one linear piece that is left. O(n log n), no tolerance, no
iteration to converge. Weighted Nash, Kalai–Smorodinsky, alpha-fairness and both overload rules differ only in
what they pass as rate, start, low and high (`mechanisms.py`).

How floats are kept honest: the sweep may be off by rounding, so it only proposes a piece. The piece itself is
solved from the given numbers with `fsum`, and neighbouring pieces are tried until the level lies inside its
own piece. So a total one ulp below the sum of the highs, rates fifteen magnitudes apart and breakpoints one
ulp from each other come out as rationals would.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import exp, fsum, inf, log
from typing import NamedTuple

# Beyond this, products of rate and level could leave the range of a float: work with logarithms instead.
_ORDINARY = 1e150
_ORDINARY_LEVEL = 1e280
# Subtracting rates loses digits: below this share of its peak the sweep sums the slope anew.
_WORN_SLOPE = 1e-6
# exp() of more overflows soon; everybody's high lies below it anyway.
_LARGEST_EXPONENT = 700.0


class Fill(NamedTuple):
    """Who gets what, and the level that explains it."""

    amounts: list[float]  # in the order given, each within its bounds
    level: float  # the highest level that hands out no more than the total; inf: everybody is at his high
    log_level: float  # its logarithm, also where the level itself leaves the range of a float
    steps: int  # breakpoints passed


def clampfill(
    total: float, rate: Sequence[float], start: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> Fill:
    """Share a total so that everyone rises with one common level, within bounds.

    Args:
        total: What to hand out. Less than the sum of lows gives the lows, more than the sum of highs the highs.
        rate: How fast each rises with the level. All positive.
        start: Where each would stand at level 0; at most its low.
        low: The least each gets. The same list as `start` takes a shorter way.
        high: The most each gets, at least its low.

    Returns:
        Amounts that sum to the total, clipped to the sums of lows and highs. Where a whole range of levels gives
        the same amounts the level is the highest of them, so that 1/level is the right derivative.

    Source: algorithms 1.1.
    """
    if not 1 / _ORDINARY < max(rate) < _ORDINARY:
        return clampfill_by_logs(total, [log(a) for a in rate], start, low, high)

    room = -fsum((*low, -total))
    if room <= 0:
        return _nothing_above_the_lows(rate, start, low, high)
    at, levels, rising = _breakpoints(rate, start, low, high)
    order = sorted(range(len(levels)), key=levels.__getitem__)
    if levels[order[-1]] > _ORDINARY_LEVEL:
        return clampfill_by_logs(total, [log(a) for a in rate], start, low, high)

    piece = _Piece(total, rate, start, low, high, rising, list(start), list(rate))
    piece.go_down(range(len(rising)))
    change = [rate[i] for i in rising] + [-a for a in rate]
    slope = peak = fsum(piece.pace)
    steps = 0
    for event in order:
        level = levels[event]
        step = slope * (level - at)
        if step > room:
            break
        room -= step
        at = level
        steps += 1
        slope += change[event]
        if slope < _WORN_SLOPE * peak:
            slope = peak = fsum((*piece.pace, *(change[passed] for passed in order[:steps])))
        elif slope > peak:
            peak = slope

    piece.go_up(order[:steps])
    level, steps = _settle(piece, levels, order, steps)
    if level == inf:
        return Fill(piece.base, inf, inf, steps)
    amounts = [
        h if (x := b + a * level) > h else lo if x < lo else x  # noqa: FURB136  max() takes three times as long
        for b, a, lo, h in zip(piece.base, piece.pace, low, high, strict=True)
    ]
    return Fill(amounts, level, _log(level), steps)


def _nothing_above_the_lows(
    rate: Sequence[float], start: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> Fill:
    """Give the lows, and the level at which the first who can would rise above his."""
    columns = zip(rate, start, low, high, strict=True)
    level = min(((lo - c) / a for a, c, lo, h in columns if h > lo), default=inf)
    return Fill(list(low), level, _log(level), 0)


def _breakpoints(
    rate: Sequence[float], start: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[float, list[float], list[int]]:
    """Say where the sweep begins, at which levels something happens, and who is not yet rising at the beginning.

    The levels of the late risers come first, in the order of the third result, then everybody's reaching of his
    high. So a stable sort lets a party rise before it is full.
    """
    full = [(h - c) / a for h, c, a in zip(high, start, rate, strict=True)]
    if low is start or low == start:
        return 0.0, full, []
    leave = [(lo - c) / a for lo, c, a in zip(low, start, rate, strict=True)]
    first = min(leave)
    rising = [i for i, level in enumerate(leave) if level > first]
    return first, [leave[i] for i in rising] + full, rising


class _Piece(NamedTuple):
    """One linear piece of the sum: in it, each gets `base + pace * level`.

    Breakpoints are numbered as `_breakpoints` lists them.
    """

    total: float
    rate: Sequence[float]
    start: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    rising: list[int]
    base: list[float]
    pace: list[float]

    def go_up(self, events: Iterable[int]) -> None:
        """Pass breakpoints on the way up: late risers start, others are full."""
        base, pace, rises = self.base, self.pace, len(self.rising)
        for event in events:
            if event >= rises:
                i = event - rises
                base[i], pace[i] = self.high[i], 0.0
            else:
                i = self.rising[event]
                base[i], pace[i] = self.start[i], self.rate[i]

    def go_down(self, events: Iterable[int]) -> None:
        """Pass breakpoints on the way down: who was full rises again, late risers are back at their lows."""
        base, pace, rises = self.base, self.pace, len(self.rising)
        for event in events:
            if event >= rises:
                i = event - rises
                base[i], pace[i] = self.start[i], self.rate[i]
            else:
                i = self.rising[event]
                base[i], pace[i] = self.low[i], 0.0

    def level(self) -> float:
        """Solve this piece exactly; where nobody rises in it: infinite if there is room for more, else minus that."""
        rest = -fsum((*self.base, -self.total))
        slope = fsum(self.pace)
        if slope > 0:
            return rest / slope
        return inf if rest >= 0 else -inf


def _settle(piece: _Piece, levels: Sequence[float], order: Sequence[int], steps: int) -> tuple[float, int]:
    """Step to the piece that really holds the level; the sweep's proposal is it, or a neighbour.

    Where rounding makes two neighbours point at each other the level is their common breakpoint, and the lower
    piece is kept: it never hands out more than there is.
    """
    came_down = came_up = False
    while True:
        level = piece.level()
        lower = levels[order[steps - 1]] if steps else -inf
        upper = levels[order[steps]] if steps < len(order) else inf
        # Below a piece that hands out too much, one without width (a party without range) cannot hold the level.
        if level < lower or (came_down and lower == upper):
            steps -= 1
            piece.go_down((order[steps],))
            if came_up:
                return lower, steps
            came_down = True
        elif steps < len(order) and level >= upper:
            if came_down:
                return upper, steps
            piece.go_up((order[steps],))
            steps += 1
            came_up = True
        else:
            return level, steps


def clampfill_by_logs(
    total: float, log_rate: Sequence[float], start: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> Fill:
    """Do the same with rates given by their logarithms, which may lie thousands apart.

    For rates that no float can hold side by side: weights of 1e-320 and 1, or alpha-fairness with an alpha of a
    thousandth. Costs O(n log n) with a larger constant.
    """
    parties = range(len(log_rate))
    leave = [_log(low[i] - start[i]) - log_rate[i] for i in parties]
    full = [_log(high[i] - start[i]) - log_rate[i] for i in parties]
    breakpoints = sorted({level for level in (*leave, *full) if level > -inf})

    def excess(level: float) -> float:
        amounts = (
            high[i]
            if full[i] <= level
            else low[i]
            if leave[i] >= level
            else start[i] + exp(min(log_rate[i] + level, _LARGEST_EXPONENT))
            for i in parties
        )
        return fsum((*amounts, -total))

    steps = bisect_right(breakpoints, 0.0, key=excess)
    at = breakpoints[steps - 1] if steps else -inf
    rising = [i for i in parties if leave[i] <= at < full[i]]
    amounts = [high[i] if full[i] <= at else low[i] for i in parties]
    if not rising:
        level = breakpoints[steps] if steps < len(breakpoints) else inf
        return Fill(amounts, _exp(level), level, steps)

    for i in rising:
        amounts[i] = start[i]
    rest = max(0.0, -fsum((*amounts, -total)))
    # Only the rates of those who rise together are put side by side, relative to the largest of them.
    largest = max(log_rate[i] for i in rising)
    share = {i: exp(log_rate[i] - largest) for i in rising}
    slope = fsum(share.values())
    for i in rising:
        amounts[i] = min(max(start[i] + share[i] / slope * rest, low[i]), high[i])
    # What is left may be too small for a float; the piece still begins where it begins.
    level = max(_log(rest) - log(slope) - largest, at)
    return Fill(amounts, _exp(level), level, steps)


def _log(value: float) -> float:
    return log(value) if value > 0 else -inf


def _exp(value: float) -> float:
    return exp(value) if value < _LARGEST_EXPONENT else inf
