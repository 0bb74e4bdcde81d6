"""A small virtual machine with cgroup v2, emulated in software, without a disk, and without a network unless asked for.

It starts from one archive in memory and is gone without a trace when its process ends. It runs on this machine's
Python at this machine's paths, some ten to twenty times slower.
"""

import contextlib
import json
import platform
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from vm import image

KERNEL = image.PROJECT / "build" / "vm" / "vmlinuz"
QEMU = "qemu-system-x86_64"
STARTS_WITHIN_S = 120
MEMORY_MIB = 1024
PATIENCE = "4"  # what every wait of a test in the guest is multiplied by


def missing() -> str | None:
    """Why there can be no virtual machine here; None: there can."""
    if platform.machine() != "x86_64":
        return "needs an x86-64 machine: the guest runs its Python"
    absent = [program for program in (QEMU, "ldd", "setpriv") if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return None if KERNEL.exists() else "no kernel for the guest: run `packaging/fetch-kernel.sh build/vm/vmlinuz`"


class GuestError(Exception):
    """The machine did not answer; the message has the end of its console."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command in the guest ended."""

    returncode: int
    output: str  # both streams, in the order in which they were written


class Machine:
    """A running guest; a context manager, after which nothing of it is left but the console's log."""

    def __init__(
        self,
        directory: Path,
        *,
        psi: bool = True,
        build: Callable[[Path], None] = image.build,
        memory_mib: int = MEMORY_MIB,
        devices: Sequence[str] = (),
    ) -> None:
        """Start it.

        Args:
            directory: Gets its files: an archive of some 100 MB while it starts, and the console's log.
            psi: Whether its kernel counts pressure.
            build: Writes the archive.
            memory_mib: How much it has; the archive is in it twice while it starts.
            devices: More arguments for qemu, for instance a network.
        """
        self._console = directory / "console.log"
        archive = directory / "root.cpio"
        build(archive)
        ours, theirs = socket.socketpair()
        self._link, self._unread = ours, b""
        with theirs:
            # Should this process be killed, the machine dies too.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", QEMU, "-nodefaults", "-no-user-config", "-display", "none"]
                + ["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(memory_mib), "-no-reboot"]
                + ["-kernel", str(KERNEL), "-initrd", str(archive)]
                + ["-append", f"console=ttyS0 quiet panic=-1 cgroup_no_v1=all psi={psi:d}"]
                + ["-serial", f"file:{self._console}"]
                + ["-chardev", f"socket,id=commands,fd={theirs.fileno()}", "-serial", "chardev:commands"]
                + list(devices),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        try:
            self.release = self._answer(STARTS_WITHIN_S)["ready"]
        except BaseException:
            self.close()
            raise
        finally:
            archive.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def python(self, *words: str, within_s: float = 60) -> Done:
        """Run this machine's Python in the guest, in the project's folder.

        Raises:
            GuestError: It did not end in time; the machine is of no use afterwards.
        """
        return self.run(sys.executable, *words, within_s=within_s)

    def run(self, *argv: str, within_s: float = 60) -> Done:
        """Run a program in the guest, in the project's folder; raises as `python` does."""
        env = {"PATH": "/bin:/usr/bin:/usr/sbin", "HOME": "/root", "LANG": "C.UTF-8", "TEST_PATIENCE": PATIENCE}
        request = {"argv": argv, "cwd": str(image.PROJECT), "env": env}
        try:
            self._link.sendall(json.dumps(request).encode() + b"\n")
        except OSError as err:
            raise GuestError(f"the machine is off; {self._last_words()}") from err
        return Done(**self._answer(within_s))

    def close(self) -> None:
        """End it; also twice."""
        self._process.kill()
        self._process.wait()
        self._link.close()

    def _answer(self, within_s: float) -> dict:
        ends_s = time.monotonic() + within_s
        while b"\n" not in self._unread:
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not select.select([self._link], [], [], left_s)[0]:
                self.close()  # an answer that comes later would be taken for the next one
                raise GuestError(f"no answer within {within_s:g} s; {self._last_words()}")
            self._unread += self._receive()
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def _receive(self) -> bytes:
        # A machine that dies with a request unread resets the connection.
        with contextlib.suppress(ConnectionError):
            received = self._link.recv(65536)
            if received:
                return received
        raise GuestError(f"the machine is off; {self._last_words()}")

    def _last_words(self) -> str:
        text = self._console.read_text(errors="replace") if self._console.exists() else ""
        return f"its console ends with:\n{text[-2000:]}"
