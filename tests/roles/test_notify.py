"""The service manager is told what it asks for, and nothing breaks without one."""

import os
import socket
from pathlib import Path

from mbcasd.roles.notify import ServiceManager


def test_ready_and_watchdog_reach_the_manager_and_the_watchdog_is_fed_at_half_its_interval(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        manager = ServiceManager(
            {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
        )
        manager.ready("watching")
        for now_s in (0.0, 1.0, 1.9, 2.0, 3.0):
            manager.alive(now_s)
        manager.stopping()
        manager.close()

        got = [listener.recv(4096).decode() for _ in range(4)]

    assert got == ["READY=1\nSTATUS=watching", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_another_process_of_the_service_does_not_feed_the_watchdog(tmp_path: Path) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"})

    manager.alive(0.0)
    manager.ready("the socket is gone, and nobody minds")


def test_without_a_manager_every_call_does_nothing() -> None:
    manager = ServiceManager({})

    manager.ready("x")
    manager.alive(1.0)
    manager.stopping()
