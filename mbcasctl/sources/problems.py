"""What went wrong at a source, in words that say what to do next."""

import errno
import grp
import os
from pathlib import Path
from stat import S_ISSOCK

import msgspec

from mbcasd import __version__
from mbcasd.errors import SourceError
from mbcasd.model.snapshot import NodeSnapshot

_START = "start one with `mbcasd local --parent PATH`, or say with --socket, --url or --record where to look"

_decoder = msgspec.json.Decoder(NodeSnapshot)


class _Stamp(msgspec.Struct):
    """The little that every version of `/status` has."""

    version: str
    node: str


def decode_answer(place: str, status: int, body: bytes) -> NodeSnapshot:
    """Turn a daemon's answer into its picture; fields that this version does not know are left out.

    Raises:
        SourceError: It is not a picture, or one of another version.
    """
    if status == 404:
        raise SourceError(f"{place} has no /status: something other than a daemon of MBCAS listens there")
    if status == 503:
        raise SourceError(f"the daemon on {place} has too many readers at once: try again in a second")
    if status != 200:
        raise SourceError(f"{place} answers with HTTP status {status} instead of its picture")
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        try:
            stamp = msgspec.json.decode(body, type=_Stamp)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SourceError(f"{place} answers, but not like a daemon of MBCAS") from err
        advice = (
            "use the same version of both" if stamp.version != __version__ else "this is a defect, please report it"
        )
        raise SourceError(
            f"the daemon on {place} is version {ascii(stamp.version)[1:-1]}, this is mbcasctl {__version__}, "
            f"and its picture cannot be read ({err}): {advice}"
        ) from err


def no_socket(path: str, err: OSError) -> str:
    """Why nobody answers on a Unix socket, and the remedy."""
    if err.errno in {errno.EACCES, errno.EPERM}:
        return f"cannot open {path}: permission denied. {_who_may(path)}"
    if isinstance(err, TimeoutError) or err.errno == errno.EAGAIN:
        return f"the daemon on {path} takes no connection: it hangs or has too many readers"
    if err.errno == errno.ECONNREFUSED and _is_socket(path):
        return f"no daemon answers on {path} any more (its socket is left over): {_START}"
    if err.errno == errno.ECONNREFUSED:
        return f"{path} is not a socket: {_START}"
    if err.errno in {errno.ENOENT, errno.ENOTDIR}:
        return f"no daemon answers on {path}: {_START}"
    return f"cannot open {path} ({err.strerror or err}): {_START}"


def no_address(place: str, err: OSError) -> str:
    """Why nobody answers on a TCP address, and the remedy."""
    if isinstance(err, TimeoutError):
        return f"{place} does not answer: is the host up and the port open to this machine?"
    if err.errno == errno.ECONNREFUSED:
        return f"no daemon answers on {place}: start it with --metrics-address HOST:PORT"
    return f"cannot reach {place} ({err.strerror or err})"


def _is_socket(path: str) -> bool:
    try:
        return S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False


def _who_may(path: str) -> str:
    """Which group may read the socket, as far as that can be seen from here."""
    as_root = "Run it as root: sudo mbcasctl …"
    try:
        gid = Path(path).stat().st_gid
        group = grp.getgrgid(gid).gr_name
    except (OSError, KeyError):
        return as_root
    if gid == 0 or gid in os.getgroups():
        return as_root
    return f"{as_root}, or join the group that may: sudo usermod -aG {group} $USER (and log in again)"
