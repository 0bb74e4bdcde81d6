"""A real Prometheus on loopback, and what it watches: a service of the load test in a cgroup, under open-loop load."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rigs.kernel import PATIENCE, Rig, wait_until

from mbcasctl.loadtest.children import Child, send_command, serve_command
from mbcasctl.loadtest.traffic import Job

# What the service exports, as an owner would ask for it; the look back is short so that a test need not wait a minute.
P99 = 'histogram_quantile(0.99, sum by (le) (rate(mbcas_eval_request_duration_seconds_bucket{job="{{pod}}"}[10s])))'


def missing() -> str | None:
    """Why there can be no Prometheus here; None: there can."""
    return None if shutil.which("prometheus") else "not installed: prometheus"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    """A Prometheus that scrapes each service every second, ready when constructed."""

    def __init__(self, folder: Path, targets: dict[str, int]) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, port in targets.items()
        ]
        # JSON is YAML.
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self._log = (folder / "prometheus.log").open("ab")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=warn",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        wait_until(self._is_ready, 30, "Prometheus is ready")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, Path(self._log.name).read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
            return answer.status == 200
        return False

    def value(self, query: str) -> float | None:
        """The one number that a query gives; None: none."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._log.close()


class Service:
    """One worker of the load test inside a child of a rig, and the load that it is under."""

    def __init__(self, rig: Rig, child: str, folder: Path, *, cpu_ms: float, threads: int = 2, **more: object) -> None:
        folder.mkdir(exist_ok=True)
        self._log = (folder / f"{child}.log").open("ab")
        joins = [part for root in rig.roots for part in ("--join", str(root / rig.name / child / "cgroup.procs"))]
        options = [part for name, value in more.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        self._child = Child(
            child,
            serve_command("worker", "--threads", str(threads), "--cpu-ms", str(cpu_ms), *options, *joins),
            log=self._log,
        )
        self.port = int(self._child.read_line(30 * PATIENCE).decode().removeprefix("ready "))
        self._sender = Child("the load generator", send_command(), log=self._log)

    def load(self, rate_hz: float, seconds: float) -> None:
        """Send so many requests per second, evenly, for so long; returns at once."""
        offsets_s = tuple(i / rate_hz for i in range(round(rate_hz * seconds)))
        job = Job(port=self.port, start_at_s=time.monotonic() + 0.1, offsets_s=offsets_s, drain_s=1.0)
        self._sender.write_line(msgspec.json.encode(job))

    def close(self) -> None:
        for child in (self._sender, self._child):
            child.close()
        self._log.close()


@contextlib.contextmanager
def a_service(rig: Rig, child: str, folder: Path, *, cpu_ms: float, **more: object) -> Iterator[Service]:
    service = Service(rig, child, folder, cpu_ms=cpu_ms, **more)  # type: ignore[arg-type]
    try:
        yield service
    finally:
        rig.write_limit(child, None)  # a throttled process takes its time to end
        service.close()


@contextlib.contextmanager
def a_prometheus(folder: Path, **targets: int) -> Iterator[Prometheus]:
    running = Prometheus(folder, targets)
    try:
        yield running
    finally:
        running.stop()
