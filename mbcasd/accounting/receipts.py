"""Receipts: one clearing with all that is needed to compute it again, and the check that does so.

Pure. A receipt proves nothing by being stored; it proves something because `verify` clears the same market
once more and finds the same numbers, and because the certificate is checked without the solver. The id is
a hash of the content, so a receipt that was altered is no longer the one that its id names.
"""

import hashlib
import math
from dataclasses import replace

import msgspec

from mbcasd.errors import RecordError
from mbcasd.model.decision import Receipt
from mbcasd.model.market import Clearing, Market

# Numbers that were computed twice may differ by this much, relative to their size (algorithms §6).
TOLERANCE = 1e-9
# 64 bits name a receipt for people; what protects the record is the chain, which uses the whole hash.
_ID_DIGITS = 16


class _Written(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A receipt as JSON has it; JSON has no infinity, and α-fairness does."""

    receipt_id: str = ""
    decided_at_s: float
    trigger: str
    market: Market
    clearing: Clearing
    alpha_is_infinite: bool = False


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
    options = receipt.market.options
    endless = math.isinf(options.alpha)
    market = replace(
        receipt.market,
        group_weights=dict(receipt.market.group_weights),
        options=replace(options, alpha=0.0) if endless else options,
    )
    return _encoder.encode(
        _Written(
            receipt_id=receipt.receipt_id,
            decided_at_s=receipt.decided_at_s,
            trigger=receipt.trigger,
            market=market,
            clearing=receipt.clearing,
            alpha_is_infinite=endless,
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
    market = found.market
    if found.alpha_is_infinite:
        market = replace(market, options=replace(market.options, alpha=math.inf))
    return Receipt(
        receipt_id=found.receipt_id,
        decided_at_s=found.decided_at_s,
        market=market,
        clearing=found.clearing,
        trigger=found.trigger,
    )
