"""How fast markets clear: the primitive, whole clearings with their proof, and the alternatives that lost.

python tests/bench/bench_solver.py [--json FILE] [--rounds 30]

Targets: the solver alone 0.15 ms at 250 bids and 0.8 ms at 1000 (aims 0.1 and 0.5).
"""

import argparse
import json
import random
import statistics
import sys
import timeit
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import inf
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import oracle

from mbcasd.allocation.certificate import certify
from mbcasd.allocation.clampfill import clampfill
from mbcasd.allocation.market import clear
from mbcasd.allocation.mechanisms import nash
from mbcasd.allocation.terms import Terms, terms_of
from mbcasd.model.market import Bid, Market, Mechanism, Options

SIZES = (10, 250, 1000)
TARGETS_MS = {("nash, solver alone", 250): 0.15, ("nash, solver alone", 1000): 0.8}


def a_market(size: int, *, windows: bool = False, **more: object) -> Market:
    """Lognormal needs over request-like floors, three classes of weight, 60 % of the ranges served."""
    draw = random.Random(size)
    bids = []
    for i in range(size):
        floor = float(draw.randint(50, 200))
        room = float(round(draw.lognormvariate(5, 1)))
        window = {"lower_milli": floor + 0.1 * room, "upper_milli": floor + 0.8 * room} if windows else {}
        weight = float(draw.choice((1, 2, 3)))
        bids.append(Bid(name=f"shop/worker-{i}", floor_milli=floor, cap_milli=floor + room, weight=weight, **window))
    floors, caps = sum(b.floor_milli for b in bids), sum(b.cap_milli for b in bids)
    return replace(Market(capacity_milli=floors + 0.6 * (caps - floors), bids=tuple(bids)), **more)


def grouped(market: Market) -> Market:
    """The same, in twenty groups."""
    return replace(market, bids=tuple(replace(bid, group=f"g{i % 20}") for i, bid in enumerate(market.bids)))


def redistribute(terms: Terms) -> list[float]:
    """Share by weight, cap, share again what the capped cannot use: the loop everybody writes first."""
    got = list(terms.floor)
    left = terms.capacity_milli - sum(got)
    active = list(range(len(got)))
    while active and left > 1e-9:
        level = left / sum(terms.weight[i] for i in active)
        full = [i for i in active if terms.cap[i] - terms.floor[i] <= terms.weight[i] * level]
        if not full:
            for i in active:
                got[i] = terms.floor[i] + terms.weight[i] * level
            break
        for i in full:
            got[i] = terms.cap[i]
            left -= terms.cap[i] - terms.floor[i]
        active = [i for i in active if got[i] < terms.cap[i]]
    return got


def in_rationals(terms: Terms) -> list[Fraction]:
    """One sort and one sweep, as in the solver, in exact numbers."""
    rooms = [Fraction(m) - Fraction(d) for m, d in zip(terms.cap, terms.floor, strict=True)]
    weights = [Fraction(w) for w in terms.weight]
    left = Fraction(terms.capacity_milli) - sum(map(Fraction, terms.floor))
    slope = sum(weights)
    level = Fraction(0)
    for i in sorted(range(len(rooms)), key=lambda i: rooms[i] / weights[i]):
        level = left / slope
        if level <= rooms[i] / weights[i]:
            break
        left -= rooms[i]
        slope -= weights[i]
    return [Fraction(d) + min(u, w * level) for d, u, w in zip(terms.floor, rooms, weights, strict=True)]


def subjects(size: int) -> dict[str, Callable[[], object]]:
    """What is measured, in the order of the table."""
    plain = a_market(size)
    live = a_market(size, windows=True, options=Options(quantum_milli=10, minimum_milli=10))
    terms = terms_of(plain)
    done = nash(terms)
    whole = {
        "clear: nash": plain,
        "clear: nash, quantum 10": replace(plain, options=Options(quantum_milli=10, minimum_milli=10)),
        "clear: nash, windows, quantum 10": live,
        "clear: nash, 20 groups": grouped(plain),
        "clear: overloaded": replace(plain, capacity_milli=sum(terms.floor) / 2),
        "clear: uncongested": replace(plain, capacity_milli=sum(terms.cap)),
        "clear: kalai-smorodinsky": replace(plain, mechanism=Mechanism.KALAI_SMORODINSKY),
        "clear: alpha-fair 2": replace(plain, mechanism=Mechanism.ALPHA_FAIR, options=Options(alpha=2)),
        "clear: alpha-fair inf": replace(plain, mechanism=Mechanism.ALPHA_FAIR, options=Options(alpha=inf)),
        "clear: primal-dual": replace(plain, mechanism=Mechanism.PRIMAL_DUAL),
    }
    for name, market in whole.items():
        if not clear(market).certificate.holds:
            raise AssertionError(f"{name}: the proof fails at {size} bids")
    exact = oracle.solve(a_market(min(size, 50))).amounts
    if (
        max(abs(a - float(b)) for a, b in zip(nash(terms_of(a_market(min(size, 50)))).amounts, exact, strict=True))
        > 1e-9
    ):
        raise AssertionError("the solver and the oracle disagree")
    return {
        "clampfill": lambda: clampfill(terms.capacity_milli, terms.weight, terms.start, terms.low, terms.high),
        "nash, solver alone": lambda: nash(terms),
        "columns of the market": lambda: terms_of(plain),
        "proof alone": lambda: certify(plain, terms, done.amounts, done.price, None),
        **{name: (lambda market=market: clear(market)) for name, market in whole.items()},
        "instead: redistribute until nobody is capped": lambda: redistribute(terms),
        "instead: exact rationals": lambda: in_rationals(terms),
    }


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """Median over rounds of about 5 ms each."""
    timer = timeit.Timer(work)
    once_s = min(timer.repeat(3, 1))
    number = max(1, round(0.005 / once_s))
    return statistics.median(timer.repeat(rounds, number)) / number * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()

    figures: dict[str, dict[str, float]] = {}
    for size in SIZES:
        for name, work in subjects(size).items():
            figures.setdefault(name, {})[str(size)] = median_ms(work, given.rounds)

    base = figures["nash, solver alone"]
    print(f"{'median, ms':<46}" + "".join(f"{f'{size} bids':>12}" for size in SIZES) + "    x solver (250)")
    for name, row in figures.items():
        cells = "".join(f"{row[str(size)]:>12.4f}" for size in SIZES)
        print(f"{name:<46}{cells}{row['250'] / base['250']:>14.2f}")
    print()
    for (name, size), target in TARGETS_MS.items():
        got = figures[name][str(size)]
        print(f"{name}, {size} bids: {got:.3f} ms, target {target} ms: {'met' if got <= target else 'MISSED'}")
    if given.json:
        given.json.write_text(json.dumps({"unit": "ms, median", "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
