"""The text of the ledger: one line of JSON per cgroup whose head can be replaced in place. Pure."""

import msgspec

from mbcasd.host.held import Bandwidth, Held
from mbcasd.model.identity import CgroupRef
from mbcasd.model.mounts import CgroupVersion
from mbcasd.model.readings import LimitReading

# Room for two bandwidths of 20 digits each; it divides the page size, so a head never lies on two pages.
HEAD_BYTES = 256

# Instead of a line's head: the cgroup is not held any more. JSON wants a member before the comma.
SETTLED_HEAD = b'{"before":null,"after":null'.ljust(HEAD_BYTES - 1) + b","


class _Head(msgspec.Struct, frozen=True):
    """What changes in place; without before and after, nothing is held any more."""

    before: Bandwidth | None = None
    after: Bandwidth | None = None


class _Line(_Head, frozen=True, kw_only=True):
    """A whole line."""

    boot: str
    path: str
    inode: int
    version: CgroupVersion
    quota_usec: int | None
    period_usec: int
    burst_usec: int | None
    unit: str | None = None
    drop_in: str | None = None


def encode_head(held: Held) -> bytes:
    """The opening of a line: an object that the rest of the line goes on with."""
    text = msgspec.json.encode(_Head(before=held.before, after=held.after))
    return text[:-1].ljust(HEAD_BYTES - 1) + b","


def encode(held: Held, boot: str) -> bytes:
    """A whole line, padded so that the next one begins at a multiple of the head's size."""
    owner = held.owner
    rest = msgspec.json.encode(
        {
            "boot": boot,
            "path": held.cgroup.path,
            "inode": held.cgroup.inode,
            "version": held.version,
            "quota_usec": owner.quota_usec,
            "period_usec": owner.period_usec,
            "burst_usec": owner.burst_usec,
            "unit": held.unit,
            "drop_in": held.drop_in,
        }
    )
    line = encode_head(held) + rest[1:]
    return line.ljust(-(-(len(line) + 1) // HEAD_BYTES) * HEAD_BYTES - 1) + b"\n"


def decode(text: bytes) -> tuple[Held | None, str]:
    """What a line says (None: it is settled), and in which boot it was written.

    Raises:
        msgspec.DecodeError: It is no such line, or it would lead out of the cgroup tree or the folder of drop-ins.
    """
    line = msgspec.json.decode(text, type=_Line)
    if line.before is None or line.after is None:
        return None, line.boot
    if not line.path.startswith("/") or ".." in line.path.split("/") or "/" in (line.unit or ""):
        raise msgspec.ValidationError("not a path of a cgroup, or not a unit")
    held = Held(
        cgroup=CgroupRef(path=line.path, inode=line.inode),
        version=line.version,
        owner=LimitReading(quota_usec=line.quota_usec, period_usec=line.period_usec, burst_usec=line.burst_usec),
        before=line.before,
        after=line.after,
        unit=line.unit,
        drop_in=line.drop_in,
    )
    return held, line.boot
