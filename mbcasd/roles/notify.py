"""Talk to the service manager: readiness, watchdog, status (sd_notify protocol of systemd, man 3 sd_notify)."""

import os
import socket
from collections.abc import Mapping


class ServiceManager:
    """The one that started this process, if it wants to be told; otherwise every call does nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Find the manager by NOTIFY_SOCKET and its watchdog by WATCHDOG_USEC."""
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        wanted_pid = environ.get("WATCHDOG_PID", str(os.getpid()))
        usec = environ.get("WATCHDOG_USEC", "") if wanted_pid == str(os.getpid()) else ""
        # Half the interval, as the manual asks.
        self._watchdog_s = int(usec) / 2e6 if usec.isdigit() else None
        self._fed_at_s = float("-inf")

    def ready(self, status: str) -> None:
        """The service is up."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self, now_s: float) -> None:
        """A reload has begun; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_s * 1e6:.0f}")

    def stopping(self) -> None:
        """A clean stop has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def alive(self, now_s: float) -> None:
        """Feed the watchdog, as often as it wants and not more."""
        if self._watchdog_s is not None and now_s - self._fed_at_s >= self._watchdog_s:
            self._fed_at_s = now_s
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            # A manager that does not listen any more is no reason to stop.
            self.close()
