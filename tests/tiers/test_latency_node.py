"""The latency guard on Kubernetes: a real pod names its target, the agent of its node asks about it."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.pods import a_pod
from fakes.metric_server import MetricServer, a_metric_server, http, says, vector
from rigs.kernel import wait_until
from scenarios.daemons import Role, running
from scenarios.grounds import Grounds, prepared
from scenarios.workloads import RunningPod, a_worker

pytestmark = pytest.mark.node

CONFIG = """
[loops]
startup_grace_period = "1s"

[guardrail]
prometheus_url = "{url}"
slo_query = 'p99{{namespace="{{{{namespace}}}}",pod="{{{{pod}}}}",container="{{{{container}}}}"}}'
"""


@pytest.fixture(scope="module")
def ground(cluster: Cluster) -> Iterator[Grounds]:
    with prepared(cluster) as ground:
        yield ground


@pytest.fixture
def pod(ground: Grounds) -> Iterator[RunningPod]:
    with ground.cluster.namespace() as namespace:
        marks = {"mbcas.io/min-cpu": "200m", "mbcas.io/target-latency-ms": "50"}
        yield RunningPod(ground.cluster, namespace, a_pod("web", a_worker(), node="node-1", annotations=marks))


@pytest.fixture
def server() -> Iterator[MetricServer]:
    with a_metric_server() as running:
        yield running


@contextlib.contextmanager
def an_agent(ground: Grounds, directory: Path, url: str) -> Iterator[Role]:
    node = ground.cluster.nodes["node-1"]
    with running(
        "agent",
        directory / "agent",
        *("--kubeconfig", ground.agent_kubeconfig("node-1"), "--node-name", "node-1", "--capacity", "2000m"),
        *("--kubepods", f"/{node.cgroup}/kubepods", "--mode", "enforce"),
        config=CONFIG.format(url=url),
    ) as agent:
        yield agent


def row_of(agent: Role, pod: RunningPod) -> dict[str, Any]:
    rows = agent.status()["workloads"]
    return next((row for row in rows if (row["namespace"], row["name"]) == (pod.namespace, pod.name)), {})


def test_a_pod_over_its_target_latency_may_be_throttled_half_as_much(
    ground: Grounds, pod: RunningPod, server: MetricServer, tmp_path: Path
) -> None:
    server.behaviour = lambda connection, _query: connection.sendall(http(vector(0.2)))
    with an_agent(ground, tmp_path, server.url) as agent:
        wait_until(lambda: row_of(agent, pod).get("leniency") == 0.5, 30, f"the violation counts {agent.log()}")
        row = row_of(agent, pod)

        assert (row["slo_p99_s"], row["p99_s"], row["slo_violated"]) == (0.05, 0.2, True)
        assert f'p99{{namespace="{pod.namespace}",pod="web",container="main"}}' in server.queries
        assert "50 ms are expected (prometheus)" in agent.log()
        metrics = agent.get("/metrics")[1].decode()
        assert re.search(r'mbcas_slo_violations_total\{[^}]*pod="web"[^}]*\} 1', metrics)


def test_a_server_that_lies_is_visible_and_writes_nothing(
    ground: Grounds, pod: RunningPod, server: MetricServer, tmp_path: Path
) -> None:
    server.behaviour = says(http("<html>gateway</html>", "502 Bad Gateway"))
    with an_agent(ground, tmp_path, server.url) as agent:
        wait_until(
            lambda: any("HTTP 502" in problem for problem in agent.status()["problems"]), 30, "the lie is visible"
        )

        assert row_of(agent, pod)["leniency"] == 1
        assert pod.allocation() is None
