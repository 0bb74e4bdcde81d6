"""Listening sockets: an address or a path becomes one, or a message that says why not."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from mbcasd.errors import ConfigError, ServingError

_BACKLOG = 32
# sun_path of `struct sockaddr_un`, with its closing NUL (unix(7)).
_LONGEST_PATH = 107
SOCKET_MODE = 0o660


def parse_address(address: str) -> tuple[str, int]:
    """Split `HOST:PORT`, `[::1]:PORT` or `:PORT` (all addresses); port 0 lets the kernel choose.

    Raises:
        ConfigError: It is not that.
    """
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in host and bare == host):
        raise ConfigError(f"address {address!r} is not HOST:PORT: write 127.0.0.1:9102 or [::1]:9102")
    return bare, int(port)


def listen_tcp(address: str) -> socket.socket:
    """Listen on `HOST:PORT`.

    Raises:
        ConfigError: There is no such address here.
        ServingError: The port is taken, or this user may not have it.
    """
    host, port = parse_address(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as err:
        raise ConfigError(f"address {address!r}: there is no host {host!r}: {err}") from err
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except OSError as err:
        listener.close()
        raise _translate(err, address, port) from err
    return listener


def _translate(err: OSError, address: str, port: int) -> ConfigError | ServingError:
    match err.errno:
        case errno.EADDRINUSE:
            return ServingError(f"cannot listen on {address}: the port is in use; see `ss -ltnp sport = :{port}`")
        case errno.EACCES | errno.EPERM:
            return ServingError(f"cannot listen on {address}: permission denied; take a port above 1023 or run as root")
        case errno.EADDRNOTAVAIL:
            return ConfigError(f"cannot listen on {address}: this host has no such address; see `ip address`")
        case _:
            return ServingError(f"cannot listen on {address}: {err.strerror}")


class UnixListener:
    """A listening Unix socket with its file, and the folder where that was missing."""

    def __init__(self, path: Path) -> None:
        """Listen at a path; the file of a daemon that died is replaced.

        Raises:
            ConfigError: The path is too long, or something that is not a socket stands there.
            ServingError: Another daemon serves there, or this user may not.
        """
        self._path = path = path.absolute()
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise ConfigError(f"socket {path}: longer than the {_LONGEST_PATH} bytes that the kernel takes")
        try:
            self._made_folder = not path.parent.exists()
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with _only_me(path.parent):
                self._make_way()
                self.socket = self._bind()
            self._inode = path.lstat().st_ino
        except OSError as err:
            reason = err.strerror or str(err)
            raise ServingError(f"cannot make the socket {path}: {reason}; name another place with --socket") from err

    def close(self) -> None:
        """Stop listening and remove the file, unless it is somebody else's by now."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with contextlib.suppress(OSError):
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
            if self._made_folder:
                self._path.parent.rmdir()

    def _make_way(self) -> None:
        """Remove the socket file of a daemon that is dead."""
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ConfigError(f"socket {self._path}: something that is not a socket stands there; move it away")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
            except FileNotFoundError:
                return
            except BlockingIOError:
                pass  # its queue is full: it lives
            except TimeoutError:
                pass
        raise ServingError(f"another mbcasd serves {self._path}: stop it, or give this one its own --socket")

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The mode is set before the name exists, so there is no moment in which everybody may connect.
            os.fchmod(listener.fileno(), SOCKET_MODE)
            listener.bind(str(self._path))
            self._path.chmod(SOCKET_MODE)  # what the umask took away
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener


@contextlib.contextmanager
def _only_me(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two daemons that start at once do not remove each other's socket."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
