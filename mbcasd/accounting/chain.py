"""The chain that runs through the receipts: each row is hashed together with the row before it; pure.

A receipt that was removed, exchanged or altered breaks the chain at its place, and a missing end shows because
the record also keeps where the chain begins and ends. It guards against accidents and quiet edits; whoever
rewrites the whole chain with this code leaves no trace, so copy the head's hash elsewhere where that matters.
"""

import hashlib
import struct
from collections.abc import Iterable
from typing import NamedTuple

# Before the first receipt.
NOTHING = bytes(32)
_ROW = struct.Struct("<qqdd")


class End(NamedTuple):
    """One end of the chain: the number and the hash of a row."""

    number: int
    link: bytes


BEGINNING = End(0, NOTHING)


class Row(NamedTuple):
    """One receipt's row, as it lies in the record."""

    number: int
    run: int
    at_s: float
    wall_s: float
    receipt_id: str
    body: bytes
    previous: bytes
    link: bytes


def link(previous: bytes, *, number: int, run: int, at_s: float, wall_s: float, receipt_id: str, body: bytes) -> bytes:
    """Hash one row together with the hash of the row before it."""
    return hashlib.sha256(previous + _ROW.pack(number, run, at_s, wall_s) + receipt_id.encode() + body).digest()


class Inspector:
    """Walks along the chain and says where it is broken.

    The tail is the last row that was dropped for its age or for room: the first row that is left must follow it.
    """

    def __init__(self, tail: End, head: End) -> None:
        self.last, self._head = tail, head

    def inspect(self, row: Row) -> Iterable[str]:
        """Take the next row, in order of numbers, and yield what is wrong with it."""
        missing = row.number - self.last.number - 1
        if missing > 0:
            yield f"{missing} receipts are missing before number {row.number}"
        elif row.previous != self.last.link:
            yield f"number {row.number} does not follow number {self.last.number}: one of them was exchanged"
        expected = link(
            row.previous,
            number=row.number,
            run=row.run,
            at_s=row.at_s,
            wall_s=row.wall_s,
            receipt_id=row.receipt_id,
            body=row.body,
        )
        if row.link != expected:
            yield f"number {row.number} was altered after it had been written"
        self.last = End(row.number, row.link)

    def finish(self) -> Iterable[str]:
        """Yield what is wrong with the end, after the last row."""
        if self.last.number < self._head.number:
            yield f"{self._head.number - self.last.number} receipts are missing at the end"
        elif self.last != self._head:
            yield f"the chain ends with number {self.last.number}, the record says otherwise"
