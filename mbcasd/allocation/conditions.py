"""First-order conditions: does one number explain what everybody at a table got?

The checking half of `certificate.py`. A table is a bargain together with its claimed answer; nothing here finds an
answer, and nothing here imports what does.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import exp, fsum, inf, isfinite, log
from typing import NamedTuple

from mbcasd.allocation.terms import exceed

# Residuals are relative to max(1 millicore, amount): algorithms §6.
TOLERANCE = 1e-9
# A price below this has lost digits or is nothing but underflow: then any common level must do.
_SMALLEST_PRICE = 1e-290
# With a smaller alpha the price hardly depends on the level, so it cannot say where that is: the amounts can.
_SMALLEST_ALPHA = 0.01
# exp() of more overflows soon; everybody's high lies below it anyway.
_LARGEST_EXPONENT = 700.0


class Table(NamedTuple):
    """Parties, bounds and what they got: s = x - start should be w**p * v**q * level, within bounds."""

    total: float
    amounts: Sequence[float]
    weight: Sequence[float]
    start: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    reach: Sequence[float] | None  # v; None where q is 0
    p: float
    q: float
    slack: Sequence[float]  # what rounding to a quantum may have moved, per party
    leeway: float = 0.0  # how well the total itself is known; 0: exactly

    def map_columns(self, change: Callable[[Sequence[float]], list[float]]) -> "Table":
        """Make another table by changing each column in the same way."""
        return self._replace(
            amounts=change(self.amounts),
            weight=change(self.weight),
            start=change(self.start),
            low=change(self.low),
            high=change(self.high),
            reach=None if self.reach is None else change(self.reach),
            slack=change(self.slack),
        )

    def seat(self, parties: Sequence[int]) -> "Table":
        """Take some parties out of it."""
        return self.map_columns(lambda column: [column[i] for i in parties])

    def of_equals(self) -> "Table":
        """The same, everybody weighing 1."""
        return self._replace(weight=[1.0] * len(self.amounts))

    def is_full(self) -> bool:
        """Whether everyone with a weight can have his high while the others keep their lows."""
        return not exceed(self._wanted(), self.total)

    def is_nearly_full(self) -> bool:
        """Whether the same holds, or fails, by no more than the total is known."""
        return exceed(self._wanted(), self.total - self.leeway)

    def _wanted(self) -> Sequence[float]:
        if min(self.weight, default=1.0) > 0:
            return self.high
        return [h if w > 0 else lo for h, lo, w in zip(self.high, self.low, self.weight, strict=True)]


def residuals_of_price(table: Table, price: float | None, alpha: float = 1.0) -> Iterator[float]:
    """Compare everybody with what the price says he should have, and the sum with what there is.

    Yields:
        Relative violations; infinity for a price that cannot be.
    """
    yield residual_of_sum(table)
    if price is not None and not 0 <= price < inf:
        yield inf
        return
    unpriced = None if alpha == inf else 0.0
    if not any(table.weight):
        equals = table.of_equals()
        yield 0.0 if price == unpriced else inf
        yield misfit(equals, common_log_level(equals))
    elif table.is_full() and (price == unpriced or not table.is_nearly_full()):
        yield 0.0 if price == unpriced else inf
        yield from residuals_of_the_full(table)
    elif alpha == inf:
        yield 0.0 if price is None else inf
        yield misfit(table, common_log_level(table))
    elif price is None and _nothing_is_shared(table):
        yield misfit(table, -inf)
    elif price is None or price < _SMALLEST_PRICE:
        # It left the range of a float. Then the level that the amounts show must say so too.
        log_level = common_log_level(table)
        log_price = -alpha * log_level
        out_of_range = log_price > _LARGEST_EXPONENT if price is None else log_price < log(_SMALLEST_PRICE) + 1
        yield 0.0 if out_of_range else inf
        yield misfit(table, log_level)
    elif alpha < _SMALLEST_ALPHA:
        at_least, at_most = _log_levels(table)
        yield max(0.0, -alpha * at_most - log(price), log(price) + alpha * at_least)
        yield misfit(table, common_log_level(table))
    else:
        yield misfit(table, -log(price) / alpha)


def residuals_of_ratio(table: Table, ratio: float | None, price: float | None) -> Iterator[float]:
    """Compare everybody with what the common ratio says he should have; a price there is none."""
    yield 0.0 if price is None else inf
    yield residual_of_sum(table)
    if not any(table.weight):
        table = table.of_equals()
    if table.is_full():
        yield from residuals_of_the_full(table)
        # The smallest ratio that satisfies everybody who has a range.
        columns = zip(table.high, table.start, table.weight, table.reach or (), strict=True)
        needed = max(((h - d) / v / w for h, d, w, v in columns if w > 0 and h > d), default=None)
        yield _difference(ratio, needed if needed is not None and needed < inf else None)
    elif ratio is None and not _nothing_is_shared(table):
        # It left the range of a float. Then the level that the amounts show must say so too.
        log_level = common_log_level(table)
        yield 0.0 if log_level > _LARGEST_EXPONENT else inf
        yield misfit(table, log_level)
    elif ratio is None:
        yield misfit(table, -inf)
    else:
        yield misfit(table, log(ratio)) if 0 < ratio < inf else inf


def residuals_of_totals(table: Table, price: float | None) -> Iterator[float]:
    """Check alpha 0: whose millicore is worth more than the price is full, whose is worth less has his least.

    Those whose millicore is worth exactly the price share as equals, and not all of them may be full, because
    the price is what the next millicore is worth.
    """
    yield residual_of_sum(table)
    plain = table._replace(reach=None, p=1.0, q=0.0)
    if price is None:
        yield misfit(plain, -inf)
        return
    reach = table.reach or [1.0] * len(table.weight)
    worth = [w / v if v > 0 else 0.0 for w, v in zip(table.weight, reach, strict=True)]
    tied = [i for i, value in enumerate(worth) if value == price and table.high[i] > table.low[i]]
    for value, x, lo, h, slack in zip(worth, table.amounts, table.low, table.high, table.slack, strict=True):
        if value != price:
            yield _relative(x, h if value > price else lo, slack)
    if tied:
        equals = plain.seat(tied).of_equals()
        yield misfit(equals, common_log_level(equals))
    served = [h if value >= price else lo for value, lo, h in zip(worth, table.low, table.high, strict=True)]
    if price > 0 and not (tied and exceed(served, table.total)):
        yield inf


def residuals_of_scarcity(table: Table, numbers: Iterable[float | None]) -> Iterator[float]:
    """Check that all have their lows, and that neither price nor ratio is claimed."""
    yield 0.0 if all(number is None for number in numbers) else inf
    yield residual_of_sum(table)
    yield misfit(table, -inf)


def residuals_of_the_full(table: Table) -> Iterator[float]:
    """Check that those with a weight have their highs and that those without share the rest as equals."""
    columns = zip(table.amounts, table.high, table.weight, table.slack, strict=True)
    yield max((_relative(x, h, slack) for x, h, w, slack in columns if w > 0), default=0.0)
    rest = [i for i, w in enumerate(table.weight) if w == 0]
    if rest:
        equals = table.seat(rest).of_equals()
        yield misfit(equals, common_log_level(equals))


def residual_of_sum(table: Table) -> float:
    """Say how far the sum is from what can be handed out; rounding may leave something, never take more."""
    if not all(map(isfinite, table.amounts)):
        return inf
    given = fsum(table.amounts)
    possible = min(table.total, fsum(table.high))
    return max(given - table.total, possible - given - fsum(table.slack), 0.0) / max(1.0, possible)


def misfit(table: Table, log_level: float) -> float:
    """Say how far the worst amount is from the one that a level gives. Parties of weight 0 get their least."""
    if table.p == 1 and table.q in {0, 1} and -_LARGEST_EXPONENT < log_level < _LARGEST_EXPONENT:
        level = exp(log_level)
        if table.reach is None or not table.q:
            surplus = [w * level for w in table.weight]
        else:
            surplus = [w * v * level for w, v in zip(table.weight, table.reach, strict=True)]
    else:
        surplus = [exp(min(rate + log_level, _LARGEST_EXPONENT)) for rate in _log_rates(table)]
    expected = [
        h if (x := d + s) > h else lo if x < lo else x  # noqa: FURB136  max() takes three times as long
        for d, s, lo, h in zip(table.start, surplus, table.low, table.high, strict=True)
    ]
    if any(table.slack):
        off = [
            (abs(x - e) - slack) / (x if x > 1 else 1.0)
            for x, e, slack in zip(table.amounts, expected, table.slack, strict=True)
        ]
    else:
        off = [abs(x - e) / x if x > 1 else abs(x - e) for x, e in zip(table.amounts, expected, strict=True)]
    return max((0.0, *off))


def common_log_level(table: Table) -> float:
    """Find a level that explains all amounts, from the amounts themselves.

    If there is none, whatever is returned misfits somebody. Infinite if everybody is full.
    """
    at_least, at_most = _log_levels(table)
    if at_most == inf:
        return inf
    return (at_least + at_most) / 2 if at_least > -inf else at_most


def _log_levels(table: Table) -> tuple[float, float]:
    """Between which logarithms a level can lie that explains all amounts.

    Whoever is above his low has risen at least to it, whoever is below his high at most. Each amount is known
    only to rounding, so each gives an interval; this is their common part, empty if the first exceeds the second.
    """
    at_least, at_most = -inf, inf
    columns = zip(table.amounts, _log_rates(table), table.start, table.low, table.high, table.slack, strict=True)
    for x, log_rate, d, lo, h, slack in columns:
        noise = TOLERANCE / 2 * max(1.0, x) + slack
        if x - noise > lo:
            at_least = max(at_least, log(x - noise - d) - log_rate)
        if x + noise < h:
            room = x + noise - d
            at_most = min(at_most, log(room) - log_rate) if room > 0 else -inf
    return at_least, at_most


def _relative(amount: float, expected: float, slack: float) -> float:
    return max(0.0, (abs(amount - expected) - slack) / max(1.0, amount))


def _difference(said: float | None, true: float | None) -> float:
    """How far off a claimed number is, relative; infinite if it is claimed where there is none, or not claimed."""
    if said is None or true is None:
        return 0.0 if said is true else inf
    return abs(said - true) / max(1.0, true)


def _nothing_is_shared(table: Table) -> bool:
    """Whether all have their lows and that leaves somebody with a weight without any surplus."""
    if table.total - fsum(table.low) > table.leeway + TOLERANCE * max(1.0, table.total):
        return False
    if table.leeway:
        return True
    columns = zip(table.start, table.low, table.high, table.weight, strict=True)
    return any(d == lo < h and w > 0 for d, lo, h, w in columns)


def _log_rates(table: Table) -> list[float]:
    reach = table.reach or [1.0] * len(table.weight)
    p, q = table.p, table.q
    return [
        p * log(w) + (q * log(v) if q else 0.0) if w > 0 and (v > 0 or not q) else -inf
        for w, v in zip(table.weight, reach, strict=True)
    ]
