"""`mbcasd agent` and `mbcasd controller` as real processes beside the test cluster, with logs that tests can read."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rigs.kernel import PATIENCE
from scenarios.waiting import wait_until

STARTS_WITHIN_S = 30.0
STOPS_WITHIN_S = 30.0


class Role:
    """One process of mbcasd; started again by `start` it finds what it had left."""

    def __init__(self, role: str, directory: Path, *flags: str, config: str = "", **environ: str) -> None:
        """Describe and start it.

        Args:
            role: `agent` or `controller`.
            directory: Its settings, state, socket and log; is made.
            flags: Its flags beside those for settings, state and address.
            config: The text of mbcasd.toml.
            environ: More of the environment.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.role, self.directory, self._flags = role, directory, flags
        self.log_path, self.config_path = directory / "log", directory / "mbcasd.toml"
        self._environ = environ
        self.config_path.write_text(config)
        self.port = _free_port()
        self.start()

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        argv = [
            # Dies with whoever runs the tests, however that ends.
            *("setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "mbcasd", self.role),
            *("--config", str(self.config_path), "--metrics-address", f"127.0.0.1:{self.port}"),
            *self._own_flags(),
            *self._flags,
        ]
        # No proxy of the surroundings stands between: everything is on the loopback.
        environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ | self._environ
            )

    def _own_flags(self) -> list[str]:
        if self.role != "agent":
            return []
        return ["--state-dir", str(self.directory), "--socket", str(self.directory / "s")]

    @property
    def pid(self) -> int:
        return self.process.pid

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask its HTTP server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5 * PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def must_run(self) -> None:
        """Fail when it has ended."""
        assert self.process.poll() is None, self.words()

    def is_ready(self) -> bool:
        """Whether it says so; fails when it has ended."""
        self.must_run()
        try:
            return self.get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self) -> "Role":
        wait_until(self.is_ready, STARTS_WITHIN_S, f"mbcasd {self.role} is ready", self.words)
        return self

    def status(self) -> dict[str, Any]:
        return json.loads(self.get("/status")[1])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels; 0 where there is none."""
        total = 0.0
        for line in self.get("/metrics")[1].decode().splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{key}="{word}"' in series for key, word in labels.items()):
                total += float(value)
        return total

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def words(self) -> str:
        """The end of its log, and what an agent has in its market, for messages of failed tests."""
        told = f"the log of mbcasd {self.role} ends with:\n{self.log()[-3000:]}"
        if self.role != "agent" or self.process.poll() is not None:
            return told
        try:
            managed = [row for row in self.status()["workloads"] if row["managed"]]
        except (OSError, http.client.HTTPException) as err:
            return f"{told}\nit does not say what it manages: {err}"
        return f"{told}\nit manages {json.dumps(managed)}"

    def kill(self) -> None:
        """As a crash would; also twice."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Politely; returns the exit code. Also twice."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOPS_WITHIN_S * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not stop: {self.words()}") from None

    def cpu_s(self) -> float:
        """CPU time of all its threads so far."""
        return cpu_s(self.pid)

    def rss_mb(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1000


@contextlib.contextmanager
def running(role: str, directory: Path, *flags: str, config: str = "", **environ: str) -> Iterator[Role]:
    """One that is ready, and is stopped at the end."""
    daemon = Role(role, directory, *flags, config=config, **environ)
    try:
        yield daemon.wait_ready()
    finally:
        daemon.stop()


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, to the nanosecond: ticks miss or hit whole passes."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in tasks) / 1e9


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def seconds_since(began_s: float) -> float:
    return time.monotonic() - began_s
