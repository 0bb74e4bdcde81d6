"""Receipts: one clearing with all that is needed to compute it again, and the check that does so.

Pure. A receipt proves nothing by being stored; it proves something because `verify` clears the same market
once more and finds the same numbers, and because the certificate is checked without the solver. The id is
a hash of the content, so a receipt that was altered is no longer the one that its id names.
"""

import hashlib
import math
from dataclasses import replace
from enum import Enum

import msgspec

from mbcasd.allocation import certificate
from mbcasd.allocation import market as markets
from mbcasd.errors import BadProblem, RecordError
from mbcasd.model.decision import Receipt
from mbcasd.model.market import Bid, Clearing, Market, Mode

# Numbers that were computed twice may differ by this much, relative to their size (algorithms §6).
TOLERANCE = 1e-9
# 64 bits name a receipt for people; what protects the record is the chain, which uses the whole hash.
_ID_DIGITS = 16


class _Written(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A receipt as JSON has it. JSON has no infinity; α-fairness does, and so does a proof that fails."""

    receipt_id: str = ""
    decided_at_s: float
    trigger: str
    market: Market
    clearing: Clearing
    endless: tuple[str, ...] = ()  # which of alpha and max_residual are infinite


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(_Written)


def make(market: Market, clearing: Clearing, trigger: str, decided_at_s: float) -> Receipt:
    """Make the receipt of one clearing.

    Args:
        market: What was to be divided, with all its rules.
        clearing: What came out.
        trigger: What made the node clear: "optimizer", "stall demo/worker-b", …
        decided_at_s: Monotonic.

    Returns:
        The receipt with its id; its numbers are floats throughout, as they will be when it is read again.
    """
    draft = decode(
        encode(Receipt(receipt_id="", decided_at_s=decided_at_s, market=market, clearing=clearing, trigger=trigger))
    )
    return replace(draft, receipt_id=identify(draft))


def identify(receipt: Receipt) -> str:
    """Compute the id that a receipt of this content has: 16 hexadecimal digits."""
    return hashlib.sha256(encode(replace(receipt, receipt_id=""))).hexdigest()[:_ID_DIGITS]


def encode(receipt: Receipt) -> bytes:
    """Write a receipt as JSON; the same content always gives the same bytes."""
    market, clearing = receipt.market, receipt.clearing
    endless = []
    if math.isinf(market.options.alpha):
        endless.append("alpha")
        market = replace(market, options=replace(market.options, alpha=0.0))
    if math.isinf(clearing.certificate.max_residual):
        endless.append("max_residual")
        clearing = replace(clearing, certificate=replace(clearing.certificate, max_residual=0.0))
    return _encoder.encode(
        _Written(
            receipt_id=receipt.receipt_id,
            decided_at_s=receipt.decided_at_s,
            trigger=receipt.trigger,
            market=replace(market, group_weights=dict(market.group_weights)),
            clearing=clearing,
            endless=tuple(endless),
        )
    )


def decode(written: bytes) -> Receipt:
    """Read a receipt back from its JSON.

    Raises:
        RecordError: It is not a receipt; the message names the field.
    """
    try:
        found = _decoder.decode(written)
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise RecordError(f"not a receipt: {err}") from err
    market, clearing = found.market, found.clearing
    if "alpha" in found.endless:
        market = replace(market, options=replace(market.options, alpha=math.inf))
    if "max_residual" in found.endless:
        clearing = replace(clearing, certificate=replace(clearing.certificate, max_residual=math.inf))
    return Receipt(
        receipt_id=found.receipt_id,
        decided_at_s=found.decided_at_s,
        market=market,
        clearing=clearing,
        trigger=found.trigger,
    )


def verify(receipt: Receipt) -> tuple[str, ...]:
    """Check a receipt by computing all of it again; returns what is wrong, nothing if it holds.

    Four independent looks: the id must be that of the content; the same market cleared once more must give the
    same numbers; nobody may have more than the bounds and all together not more than the capacity; and the
    certificate, which does not use the solver, must hold for the numbers in the receipt.
    """
    problems = []
    expected = identify(receipt)
    if receipt.receipt_id != expected:
        problems.append(f"the content has the id {expected}, the receipt says {receipt.receipt_id or 'nothing'}")
    for look in (_check_bounds, _clear_again, _check_certificate):
        try:
            problems += look(receipt.market, receipt.clearing)
        except (ArithmeticError, ValueError) as err:
            # A receipt that was altered may hold any number, also such as no mathematics is made for.
            problems.append(f"its numbers cannot be computed with: {err}")
    return tuple(problems)


def _clear_again(market: Market, clearing: Clearing) -> list[str]:
    try:
        if market.bids:  # a node without workloads is cleared too, and there is nothing to refuse
            markets.check(market)
        again = markets.clear(market)
    except BadProblem as err:
        return [f"the market cannot be cleared: {err}"]
    return _compare(clearing, again)


def _check_certificate(market: Market, clearing: Clearing) -> list[str]:
    proof = certificate.check(market, clearing)
    if proof.holds:
        return []
    return [f"the certificate ({proof.kind}) does not hold, it is off by {proof.max_residual:.3g}"]


def _check_bounds(market: Market, clearing: Clearing) -> list[str]:
    """Everything that must be so under any mechanism."""
    if tuple(a.name for a in clearing.allocations) != tuple(b.name for b in market.bids):
        return ["the allocations are not for the bids"]
    problems = []
    given_milli = math.fsum(a.milli for a in clearing.allocations)
    if given_milli > market.capacity_milli + _slack(market.capacity_milli):
        problems.append(f"{given_milli:.9g}m are given, {market.capacity_milli:.9g}m are there")
    if not _agree(given_milli, clearing.allocated_milli):
        problems.append(f"the allocations sum to {given_milli:.9g}m, the receipt says {clearing.allocated_milli:.9g}m")
    overloaded = clearing.mode is Mode.OVERLOADED
    for bid, allocation in zip(market.bids, clearing.allocations, strict=True):
        least_milli, most_milli = _bounds(bid)
        if not -_slack(0) <= allocation.milli <= most_milli + _slack(most_milli):
            problems.append(f"{bid.name} has {allocation.milli:.9g}m, at most {most_milli:.9g}m were allowed")
        elif not overloaded and allocation.milli < least_milli - _slack(least_milli):
            problems.append(f"{bid.name} has {allocation.milli:.9g}m, at least {least_milli:.9g}m were promised")
    return problems


def _bounds(bid: Bid) -> tuple[float, float]:
    """The least that a market which is not overloaded owes a bid, and the most that any may give it."""
    most_milli = bid.cap_milli if bid.upper_milli is None else min(bid.cap_milli, bid.upper_milli)
    return min(bid.floor_milli, most_milli), most_milli


def _compare(kept: Clearing, again: Clearing) -> list[str]:
    """What differs between the clearing of a receipt and the same one computed now."""
    problems = [
        f"{what} is {_shown(before)} in the receipt and {_shown(now)} computed again"
        for what, before, now in (
            ("the mechanism", kept.mechanism, again.mechanism),
            ("the mode", kept.mode, again.mode),
            ("the capacity", kept.capacity_milli, again.capacity_milli),
            ("the sum given", kept.allocated_milli, again.allocated_milli),
            ("the price", kept.price, again.price),
            ("the common ratio", kept.ratio, again.ratio),
        )
        if not _agree(before, now)
    ]
    problems += _compare_lists(
        "given to",
        [(a.name, (a.milli, a.binding)) for a in kept.allocations],
        [(a.name, (a.milli, a.binding)) for a in again.allocations],
    )
    problems += _compare_lists(
        "of group",
        [(g.name, (g.milli, g.price)) for g in kept.groups],
        [(g.name, (g.milli, g.price)) for g in again.groups],
    )
    if (kept.certificate.kind, kept.certificate.holds) != (again.certificate.kind, again.certificate.holds):
        problems.append(f"the certificate is {kept.certificate} in the receipt and {again.certificate} computed again")
    return problems


def _compare_lists(
    what: str, kept: list[tuple[str, tuple[object, object]]], again: list[tuple[str, tuple[object, object]]]
) -> list[str]:
    if [name for name, _ in kept] != [name for name, _ in again]:
        return [f"what is {what} others in the receipt than when computed again"]
    return [
        f"what is {what} {name} is {', '.join(map(_shown, before))} in the receipt "
        f"and {', '.join(map(_shown, now))} computed again"
        for (name, before), (_, now) in zip(kept, again, strict=True)
        if not all(map(_agree, before, now))
    ]


def _agree(before: object, now: object) -> bool:
    if isinstance(before, float) and isinstance(now, float):
        return math.isclose(before, now, rel_tol=TOLERANCE, abs_tol=1e-15)
    return before == now


def _slack(milli: float) -> float:
    return TOLERANCE * max(1.0, abs(milli))


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:.12g}" if isinstance(value, float) else "absent" if value is None else str(value)
