"""The latency guard for real: a service in a cgroup, a real Prometheus that scrapes it, and a daemon that asks."""

import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.metric_server import a_metric_server, http, says, vector
from rigs.kernel import Daemon, Rig, a_daemon, a_rig, wait_until
from rigs.monitoring import P99, Prometheus, Service, a_prometheus, a_service

pytestmark = [pytest.mark.kernel, pytest.mark.monitoring]

# No burst and a generous stall budget: what is throttled a little stays throttled a little, until latency objects.
CONFIG = """
[demand]
preset = "k"
stall_budget_ms = 150

[resize]
burst = "off"

[guardrail]
prometheus_url = "{url}"
slo_query = '''{query}'''
slo_timeout = "1s"

[[workload]]
match = "web"
floor = "100m"
slo_p99 = "{objective}"
"""


@pytest.fixture
def rig() -> Iterator[Rig]:
    with a_rig() as running:
        running.add("web", None)
        yield running


@pytest.fixture
def service(rig: Rig, tmp_path: Path) -> Iterator[Service]:
    """30 ms of CPU per request, four and a bit of them per second: each meets another phase of the period."""
    with a_service(rig, "web", tmp_path / "service", cpu_ms=30) as running:
        rig.write_limit("web", 250)
        running.load(4.3, 300)
        yield running


@pytest.fixture
def prometheus(service: Service, tmp_path: Path) -> Iterator[Prometheus]:
    with a_prometheus(tmp_path / "prometheus", web=service.port) as running:
        query = P99.replace("{{pod}}", "web")
        wait_until(lambda: (running.value(query) or 0) > 0, 60, "there is a p99")
        yield running


def config(url: str, objective: str, query: str = P99) -> str:
    return CONFIG.format(url=url, query=query, objective=objective)


def events(daemon: Daemon, kind: str) -> list[str]:
    with sqlite3.connect(daemon.state_dir / "record.db") as record:
        found = record.execute("SELECT message FROM events WHERE kind = ?", (kind,)).fetchall()
    record.close()
    return [message for (message,) in found]


def post(daemon: Daemon, body: dict[str, object]) -> tuple[int, str]:
    raw = json.dumps(body).encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(daemon.socket))
        client.sendall(f"POST /slo HTTP/1.1\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, text = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), text.decode()


def test_a_violation_that_prometheus_sees_halves_the_target_and_the_limit_rises(
    rig: Rig, prometheus: Prometheus, tmp_path: Path
) -> None:
    with a_daemon(
        rig, tmp_path / "state", "--mode", "enforce", "--capacity", "1500m", config=config(prometheus.url, "40ms")
    ) as daemon:
        wait_until(lambda: daemon.row("web")["leniency"] <= 0.5, 20, "the violation is seen")
        row = daemon.row("web")
        assert row["slo_violated"] is True
        assert row["p99_source"] == "prometheus"
        assert row["p99_s"] > 0.04
        assert row["slo_violations"] >= 1

        began_milli = row["limit_milli"]
        wait_until(lambda: (rig.limit("web") or 0) > max(began_milli, 250) * 1.15, 60, "the limit rises")

        metrics = daemon.get("/metrics")[1].decode()
        assert 'mbcas_slo_source_up{source="prometheus"} 1.0' in metrics
        assert re.search(r'^mbcas_slo_violations_total\{.*pod="web".*\} [1-9]', metrics, re.MULTILINE)
        wait_until(lambda: bool(events(daemon, "violation")), 5, "it is recorded")
        assert "ms are expected (prometheus)" in events(daemon, "violation")[0]
        assert daemon.status()["problems"] == []

        # It dies, and nothing moves because of that.
        prometheus.stop()
        learned, limit = daemon.row("web")["leniency"], rig.limit("web")
        wait_until(lambda: bool(daemon.status()["problems"]), 40, "its death is visible")
        assert "prometheus at http://127.0.0.1" in daemon.status()["problems"][0]
        assert daemon.row("web")["leniency"] == learned
        assert (rig.limit("web") or 0) >= (limit or 0) * 0.99
        assert daemon.status()["latency_sources"][0]["up"] is False


def dawdle(_connection: socket.socket, _query: str) -> None:
    """Takes the question and never answers."""
    threading.Event().wait(30)


LIES = {
    "nan": says(http(vector("NaN"))),
    "empty": says(http(vector())),
    "stale": says(http(vector(9, at_s=1_000_000_000))),
    "error": says(http("<html></html>", "502 Bad Gateway")),
    "timeout": dawdle,
}


@pytest.mark.parametrize("word", LIES)
def test_a_prometheus_that_lies_moves_nothing_and_is_visible(rig: Rig, tmp_path: Path, word: str) -> None:
    rig.write_limit("web", 300)
    rig.pace("web", 270)
    with a_metric_server() as server:
        server.behaviour = LIES[word]
        with a_daemon(
            rig, tmp_path / "state", "--mode", "enforce", "--capacity", "1500m", config=config(server.url, "1ms")
        ) as daemon:
            wait_until(
                lambda: any(source["answers"].get(word) for source in daemon.status()["latency_sources"]),
                10,
                "the lie is counted",
            )
            row = daemon.row("web")
            assert row["leniency"] == 1
            assert row["slo_violations"] == 0
            assert row["p99_source"] == ""
            # The loops do not wait for anybody.
            passes, began_s = daemon.status()["counters"]["passes"], time.monotonic()
            wait_until(lambda: daemon.status()["counters"]["passes"] > passes + 15, 10, "passes go on")
            assert time.monotonic() - began_s < 5
            assert daemon.process.poll() is None


def test_an_application_may_say_so_itself(rig: Rig, tmp_path: Path) -> None:
    rig.write_limit("web", 300)
    rig.pace("web", 200)
    with a_daemon(rig, tmp_path, "--mode", "enforce", "--capacity", "1500m") as daemon:
        name = f"{rig.name}/web"
        wait_until(lambda: post(daemon, {"workload": name, "violated": True})[0] == 204, 5, "it is known")
        wait_until(lambda: daemon.row("web")["slo_violated"] is True, 10, "it is judged")
        assert daemon.row("web")["leniency"] == 0.5
        assert post(daemon, {"workload": "nobody", "p99_ms": 5}) == (
            404,
            "no workload 'nobody' here; `mbcasctl top` shows which there are\n",
        )
        # Not lowered for the cooldown, though 200m of 300m would be enough.
        ends_s = time.monotonic() + 10
        while time.monotonic() < ends_s:
            assert rig.limit("web") == 300
            time.sleep(0.1)


def test_who_has_an_objective_and_no_source_is_judged_by_its_run_queue(
    rig: Rig, service: Service, tmp_path: Path
) -> None:
    settings = '[demand]\nstall_budget_ms = 1000\n[[workload]]\nmatch = "web"\nslo_p99 = "40ms"\n'
    rig.write_limit("web", 150)
    with a_daemon(rig, tmp_path / "state", config=settings) as daemon:
        wait_until(lambda: daemon.row("web")["p99_source"] == "run queue", 40, "its tasks tell something")
        row = daemon.row("web")
        # 30 ms of work at 15 ms per period take at least one pause of 85 ms.
        assert row["p99_s"] > 0.04
        wait_until(lambda: daemon.row("web")["slo_violated"] is True, 10, "it is judged")
