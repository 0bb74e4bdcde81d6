"""An independent solver in exact rationals: slow, plain, and written from the specification alone.

It shares no code and no idea with `mbcasd.allocation`: no sorting, no running sums, no floats. It tries every
breakpoint, adds everything up each time, and interpolates. Roots (alpha 2 and the like) are taken to 60 digits.
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from math import inf

from mbcasd.model.market import Bid, Market, Mechanism, Mode, OverloadRule

ZERO, ONE = Fraction(0), Fraction(1)


@dataclass
class Answer:
    mode: Mode
    amounts: list[Fraction]
    level: Fraction | None  # None: unbounded, everybody with a weight is full
    price: Fraction | None
    group_prices: dict[str, Fraction | None]


@dataclass
class Seat:
    """One party: stands at start + rate * level, within low and high."""

    rate: Fraction
    start: Fraction
    low: Fraction
    high: Fraction

    def at(self, level: Fraction) -> Fraction:
        return min(max(self.start + self.rate * level, self.low), self.high)


def raise_level(total: Fraction, seats: list[Seat]) -> tuple[list[Fraction], Fraction | None]:
    """The highest level at which the seats take no more than the total; None if all are full."""
    if sum((s.high for s in seats), ZERO) <= total:
        return [s.high for s in seats], None
    if not any(s.rate for s in seats):
        return [s.low for s in seats], ZERO
    marks = {ZERO} | {(edge - s.start) / s.rate for s in seats if s.rate for edge in (s.low, s.high)}
    below, above = None, None
    for mark in marks:
        taken = sum((s.at(mark) for s in seats), ZERO)
        if taken <= total and (below is None or mark > below):
            below = mark
        if taken > total and (above is None or mark < above):
            above = mark
    assert below is not None
    assert above is not None
    at_below = sum((s.at(below) for s in seats), ZERO)
    at_above = sum((s.at(above) for s in seats), ZERO)
    level = below + (total - at_below) * (above - below) / (at_above - at_below)
    return [s.at(level) for s in seats], level


def two_tiers(
    total: Fraction, weights: list[Fraction], seats: list[Seat], second: list[Fraction]
) -> tuple[list[Fraction], Fraction | None]:
    """Parties of weight 0 wait; what is left then is shared at their second rates."""
    first = [
        Seat(s.rate if w else ZERO, s.low if not w else s.start, s.low, s.high if w else s.low)
        for w, s in zip(weights, seats, strict=True)
    ]
    amounts, level = raise_level(total, first)
    if level is not None or all(weights):
        return amounts, level
    waiting = [i for i, w in enumerate(weights) if not w]
    left = total - sum((x for x, w in zip(amounts, weights, strict=True) if w), ZERO)
    late, _ = raise_level(left, [Seat(second[i], seats[i].start, seats[i].low, seats[i].high) for i in waiting])
    for i, x in zip(waiting, late, strict=True):
        amounts[i] = x
    return amounts, None


def solve(market: Market) -> Answer:
    capacity = Fraction(market.capacity_milli)
    bids = market.bids
    caps = sum((Fraction(b.cap_milli) for b in bids), ZERO)
    floors = sum((Fraction(b.floor_milli) for b in bids), ZERO)
    mode = Mode.UNCONGESTED if caps <= capacity else Mode.OVERLOADED if floors > capacity else Mode.CONGESTED

    bounds = [_bounds(b, market) for b in bids]
    for relief in ("none", "window", "minimum"):
        lows = [_low(b, market, relief) for b in bids]
        if sum(lows, ZERO) <= capacity:
            return _shared(market, mode, capacity, [(d, lo, h) for (d, h), lo in zip(bounds, lows, strict=True)])
    return _claims(market, capacity, bounds)


def _bounds(bid: Bid, market: Market) -> tuple[Fraction, Fraction]:
    high = Fraction(bid.cap_milli)
    if bid.upper_milli is not None:
        high = min(high, Fraction(bid.upper_milli))
    return min(Fraction(bid.floor_milli), high), high


def _low(bid: Bid, market: Market, relief: str) -> Fraction:
    floor, high = _bounds(bid, market)
    low = floor
    if relief != "minimum":
        low = max(low, min(Fraction(market.options.minimum_milli), high))
    if relief == "none" and bid.lower_milli is not None:
        low = max(low, min(Fraction(bid.lower_milli), high))
    return low


def _shared(
    market: Market, mode: Mode, capacity: Fraction, bounds: list[tuple[Fraction, Fraction, Fraction]]
) -> Answer:
    weights = [Fraction(b.weight) for b in market.bids]
    if any(b.group for b in market.bids):
        return _nested(
            market,
            mode,
            capacity,
            weights,
            [Seat(w, d, lo, h) for w, (d, lo, h) in zip(weights, bounds, strict=True)],
            weights,
        )
    unweighted = not any(weights)
    if unweighted:
        weights = [ONE] * len(weights)
    surplus = capacity - sum((d for d, _, _ in bounds), ZERO)
    ranges = [Fraction(b.cap_milli) - d for b, (d, _, _) in zip(market.bids, bounds, strict=True)]
    reach = [min(u, surplus) for u in ranges]
    if market.mechanism is Mechanism.ALPHA_FAIR and market.options.alpha == 0:
        return _utilitarian(market, mode, capacity, bounds, weights if not unweighted else [ZERO] * len(weights), reach)
    rates, second = [], []
    for w, u, v in zip(weights, ranges, reach, strict=True):
        rates.append(rate_of(market, w, u, v) if w else ZERO)
        second.append(rate_of(market, ONE, u, v))
    seats = [Seat(r, d, lo, h) for r, (d, lo, h) in zip(rates, bounds, strict=True)]
    amounts, level = two_tiers(capacity, weights, seats, second)
    price: Fraction | None
    if level is None or (unweighted and market.mechanism is not Mechanism.KALAI_SMORODINSKY):
        price = ZERO
    elif level == 0:
        price = None
    else:
        price = 1 / level
    return Answer(mode, amounts, level, price, {})


def rate_of(market: Market, w: Fraction, u: Fraction, v: Fraction) -> Fraction:
    options = market.options
    match market.mechanism:
        case Mechanism.KALAI_SMORODINSKY:
            return w * (v if options.truncate_ideal else u)
        case Mechanism.ALPHA_FAIR:
            if options.alpha == inf:
                return v if options.normalised else ONE
            alpha = Fraction(options.alpha)
            base = w if not options.normalised else (w * v ** (alpha - 1) if alpha.denominator == 1 else None)
            if base is None:
                return power(w, 1 / alpha) * power(v, (alpha - 1) / alpha)
            return power(base, 1 / alpha)
        case _:
            return w


def power(base: Fraction, exponent: Fraction) -> Fraction:
    if base == 0:
        return ZERO
    if exponent.denominator == 1:
        return base**exponent.numerator  # type: ignore[no-any-return]
    with localcontext() as context:
        context.prec = 60
        value = Decimal(base.numerator) / Decimal(base.denominator)
        return Fraction(value ** (Decimal(exponent.numerator) / Decimal(exponent.denominator)))


def _utilitarian(
    market: Market,
    mode: Mode,
    capacity: Fraction,
    bounds: list[tuple[Fraction, Fraction, Fraction]],
    weights: list[Fraction],
    reach: list[Fraction],
) -> Answer:
    """Hand out to whoever gains most per millicore, class by class."""
    if market.options.normalised:
        worth = [w / v if v else ZERO for w, v in zip(weights, reach, strict=True)]
    else:
        worth = weights
    amounts = [lo for _, lo, _ in bounds]
    left = capacity - sum(amounts, ZERO)
    open_ = {i for i, (_, lo, h) in enumerate(bounds) if h > lo}
    started = any(lo > d for d, lo, _ in bounds) or left > 0
    while open_:
        best = max(worth[i] for i in open_)
        tied = [i for i in open_ if worth[i] == best]
        room = sum((bounds[i][2] - bounds[i][1] for i in tied), ZERO)
        if room > left:
            among = left + sum((bounds[i][1] for i in tied), ZERO)
            shared, _ = raise_level(among, [Seat(ONE, *bounds[i]) for i in tied])
            for i, x in zip(tied, shared, strict=True):
                amounts[i] = x
            return Answer(mode, amounts, best, best if started or best == 0 else None, {})
        for i in tied:
            amounts[i] = bounds[i][2]
        left -= room
        open_ -= set(tied)
    return Answer(mode, amounts, None, ZERO, {})


def _claims(market: Market, capacity: Fraction, bounds: list[tuple[Fraction, Fraction]]) -> Answer:
    minimum = Fraction(market.options.minimum_milli)
    least = [min(minimum, d) for d, _ in bounds]
    groups: dict[str, Fraction | None] = {b.group: None for b in market.bids if b.group}
    if sum(least, ZERO) >= capacity:
        scale = capacity / sum(least, ZERO) if any(least) else ONE
        return Answer(Mode.OVERLOADED, [x * scale for x in least], ZERO, None, groups)
    weights = [Fraction(b.weight) for b in market.bids]
    proportional = market.options.overload_rule is OverloadRule.PROPORTIONAL
    claims = [Fraction(b.floor_milli) if proportional else ONE for b in market.bids]
    if any(b.group for b in market.bids):
        seats = [Seat(c, ZERO, lo, d) for c, lo, (d, _) in zip(claims, least, bounds, strict=True)]
        return _nested(market, Mode.OVERLOADED, capacity, weights, seats, claims if proportional else weights)
    unweighted = not any(weights)
    if unweighted:
        weights = [ONE] * len(weights)
    seats = [Seat(w * c, ZERO, lo, d) for w, c, lo, (d, _) in zip(weights, claims, least, bounds, strict=True)]
    amounts, level = two_tiers(capacity, weights, seats, claims)
    assert level != 0
    price = ZERO if level is None or unweighted else 1 / level
    return Answer(Mode.OVERLOADED, amounts, level, price, {})


def _nested(
    market: Market, mode: Mode, capacity: Fraction, weights: list[Fraction], seats: list[Seat], claims: list[Fraction]
) -> Answer:
    starved_proportional = mode is Mode.OVERLOADED and seats[0].start == 0 and claims is not weights

    def table(
        total: Fraction, ws: list[Fraction], columns: list[Seat], cs: list[Fraction]
    ) -> tuple[list[Fraction], Fraction | None, Fraction | None]:
        unweighted = not any(ws)
        if unweighted:
            ws = [ONE] * len(ws)
        second = cs if starved_proportional else [ONE] * len(ws)
        rated = [Seat(w * c, s.start, s.low, s.high) for w, c, s in zip(ws, second, columns, strict=True)]
        amounts, level = two_tiers(total, ws, rated, second)
        price = ZERO if level is None or unweighted else None if level == 0 else 1 / level
        return amounts, level, price

    order: list[str | int] = []
    members: dict[str | int, list[int]] = {}
    for i, b in enumerate(market.bids):
        key: str | int = b.group or i
        if key not in members:
            order.append(key)
        members.setdefault(key, []).append(i)
    ws = [Fraction(market.group_weights.get(key, 1.0)) if isinstance(key, str) else weights[key] for key in order]
    columns = [
        Seat(
            ONE,
            sum((seats[i].start for i in members[k]), ZERO),
            sum((seats[i].low for i in members[k]), ZERO),
            sum((seats[i].high for i in members[k]), ZERO),
        )
        for k in order
    ]
    sums = [sum((claims[i] for i in members[k]), ZERO) for k in order]
    between, level, price = table(capacity, ws, columns, sums)
    amounts = [ZERO] * len(seats)
    prices: dict[str, Fraction | None] = {}
    for key, total in zip(order, between, strict=True):
        inside, _, inner_price = table(
            total,
            [weights[i] for i in members[key]],
            [seats[i] for i in members[key]],
            [claims[i] for i in members[key]],
        )
        for i, x in zip(members[key], inside, strict=True):
            amounts[i] = x
        if isinstance(key, str):
            prices[key] = inner_price
    return Answer(mode, amounts, level, price, prices)
