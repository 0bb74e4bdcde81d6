"""The first process of the guest: mounts what Linux has, then runs commands that come over the second serial port.

A request is a line of JSON, `{"argv": […], "cwd": …, "env": {…}}`; so is the answer, `{"returncode": …, "output": …}`.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import tty
from pathlib import Path

MOUNTS = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
    ("cgroup2", "/sys/fs/cgroup"),
]
PORT = "/dev/ttyS1"
# From linux/mount.h.
MS_BIND = 4096
MS_MOVE = 8192
# From linux/sockios.h and linux/if.h.
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _leave_first_root(libc)
    for kind, path in MOUNTS:
        Path(path).mkdir(parents=True, exist_ok=True)
        if libc.mount(kind.encode(), path.encode(), kind.encode(), 0, None):
            raise OSError(ctypes.get_errno(), f"cannot mount {path}")
    Path("/tmp").chmod(0o1777)
    # What systemd does on a host.
    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+cpu +memory")
    socket.sethostname("guest")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    port = os.open(PORT, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)
    with os.fdopen(port, "rb", closefd=False) as requests:
        _answer(port, {"ready": os.uname().release})
        for line in requests:
            _answer(port, _run(json.loads(line)))


def _leave_first_root(libc: ctypes.CDLL) -> None:
    """Make a mount of its own of what was unpacked: containers exchange their root, and the first one cannot be."""
    again = Path("/again")
    again.mkdir()
    for source, target, flags in ((b"/", b"/again", MS_BIND), (b"/again", b"/", MS_MOVE)):
        if flags == MS_MOVE:
            os.chdir(again)
        if libc.mount(source, target, None, flags, None):
            raise OSError(ctypes.get_errno(), "cannot mount the root again")
    os.chroot(".")


def _run(request: dict) -> dict:
    done = subprocess.run(
        request["argv"],
        cwd=request["cwd"],
        env=request["env"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return {"returncode": done.returncode, "output": done.stdout.decode(errors="replace")}


def _answer(port: int, answer: dict) -> None:
    data = json.dumps(answer).encode() + b"\n"
    while data:
        data = data[os.write(port, data) :]


main()
