"""`mbcasd agent` on a real node: what it writes for real pods with real throttling, nobody carrying it out."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.pods import a_pod
from rigs.kernel import wait_until
from scenarios.daemons import Role, running
from scenarios.grounds import Grounds, prepared
from scenarios.workloads import RunningPod, a_worker

pytestmark = pytest.mark.node

QUICK = """
[loops]
slow_loop_interval = "2s"
startup_grace_period = "1s"
"""


@pytest.fixture(scope="module")
def ground(cluster: Cluster) -> Iterator[Grounds]:
    with prepared(cluster) as ground:
        yield ground


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@contextlib.contextmanager
def an_agent(ground: Grounds, directory: Path, *flags: str, config: str = "", mode: str = "enforce") -> Iterator[Role]:
    node = ground.cluster.nodes["node-1"]
    with running(
        "agent",
        directory / "agent",
        *("--kubeconfig", ground.agent_kubeconfig("node-1"), "--node-name", "node-1", "--capacity", "2000m"),
        *("--kubepods", f"/{node.cgroup}/kubepods", "--mode", mode, *flags),
        config=QUICK + config,
    ) as agent:
        yield agent


def row_of(agent: Role, pod: RunningPod, container: str = "main") -> dict[str, Any] | None:
    rows = agent.status()["workloads"]
    key = (pod.namespace, pod.name, container)
    return next((row for row in rows if (row["namespace"], row["name"], row["container"]) == key), None)


def test_a_throttled_pod_gets_an_allocation_at_once(ground: Grounds, namespace: str, tmp_path: Path) -> None:
    wanted = a_pod("web", a_worker(), node="node-1", annotations={"mbcas.io/min-cpu": "200m"})
    pod = RunningPod(ground.cluster, namespace, wanted)
    with an_agent(ground, tmp_path) as agent:
        wait_until(lambda: (row_of(agent, pod) or {}).get("managed"), 10, "the pod is in the market")
        wait_until(lambda: row_of(agent, pod)["target_milli"], 10, "the market was cleared")
        assert pod.allocation() is None  # it has what it needs
        pod.need(800)
        wait_until(lambda: pod.throttled_periods() > 0, 5, "it is throttled")
        took_s = wait_until(lambda: pod.allocation() is not None, 5, "its allocation is written")
        spec = pod.allocation()["spec"]

    assert took_s < 1
    assert 200 < spec["containers"][0]["limitMilli"] <= 400
    assert spec["original"] == [{"name": "main", "limitMilli": 200, "requestMilli": 100}]
    assert (spec["podUID"], spec["nodeName"]) == (pod.uid, "node-1")


def a_hungry_pod(name: str = "web", **more: Any) -> dict[str, Any]:
    """It wants 800m at once, and keeps its 200m at least: where nobody carries decisions out, none is pending."""
    return a_pod(name, a_worker(needs_milli=800), node="node-1", annotations={"mbcas.io/min-cpu": "200m"}, **more)


def generation(pod: RunningPod) -> int:
    found = pod.allocation()
    return found["metadata"]["generation"] if found is not None else 0


def test_all_containers_and_the_sidecar_of_a_pod_go_into_one_object(
    ground: Grounds, namespace: str, tmp_path: Path
) -> None:
    sidecar = a_worker("sidecar", needs_milli=300, restartPolicy="Always")
    wanted = a_pod(
        "three",
        a_worker("hungry", needs_milli=600),
        a_worker("calm"),
        node="node-1",
        annotations={"mbcas.io/min-cpu": "200m"},
        initContainers=[sidecar],
    )
    pod = RunningPod(ground.cluster, namespace, wanted)
    with an_agent(ground, tmp_path) as agent:
        wait_until(lambda: pod.allocation() is not None, 20, f"the object is there {agent.log()}")

        def limits() -> dict[str, int]:
            return {one["name"]: one["limitMilli"] for one in pod.allocation()["spec"]["containers"]}

        wait_until(lambda: limits()["hungry"] > 200 and limits()["sidecar"] > 200, 10, "both are raised")
        assert limits()["calm"] == 200
        assert [one["name"] for one in pod.allocation()["spec"]["original"]] == ["hungry", "calm", "sidecar"]


def test_after_kill_9_the_next_agent_goes_on_from_what_is_written(
    ground: Grounds, namespace: str, tmp_path: Path
) -> None:
    pod = RunningPod(ground.cluster, namespace, a_hungry_pod())
    with an_agent(ground, tmp_path) as agent:
        wait_until(lambda: generation(pod) == 1, 20, "it is decided")
        decided = pod.allocation()["spec"]
        agent.process.send_signal(signal.SIGKILL)
        agent.process.wait(10)
        # Meanwhile somebody carries it out.
        pod.resize(limits={"cpu": f"{decided['containers'][0]['limitMilli']}m"})
        agent.start()
        wait_until(lambda: (row_of_or_none(agent, pod) or {}).get("managed"), 20, "it is in the market again")
        assert row_of(agent, pod)["owner_limit_milli"] == 200
        wait_until(lambda: generation(pod) == 2, 20, "the next decision follows")
        assert pod.allocation()["spec"]["original"] == decided["original"]


def row_of_or_none(agent: Role, pod: RunningPod) -> dict[str, Any] | None:
    """While it starts nobody answers."""
    try:
        return row_of(agent, pod)
    except (OSError, TypeError):
        return None


def test_recommend_publishes_and_observe_takes_back(ground: Grounds, namespace: str, tmp_path: Path) -> None:
    pod = RunningPod(ground.cluster, namespace, a_hungry_pod())
    with an_agent(ground, tmp_path, mode="recommend"):
        wait_until(lambda: generation(pod) == 1, 20, "it is recommended")
        spec = pod.allocation()["spec"]
        assert spec["recommendOnly"]
        assert spec["containers"][0]["limitMilli"] > 200
    with an_agent(ground, tmp_path, mode="observe") as agent:
        wait_until(lambda: pod.allocation()["spec"].get("released"), 20, "it is released")
        wait_until(lambda: ((row_of(agent, pod) or {}).get("target_milli") or 0) > 200, 20, "the market is computed")
        assert generation(pod) == 2
    assert pod.quota_milli() == 200


def test_settings_are_taken_over_while_it_runs_and_bad_ones_refused(
    ground: Grounds, namespace: str, tmp_path: Path
) -> None:
    pod = RunningPod(ground.cluster, namespace, a_pod("web", a_worker(), node="node-1"))
    with an_agent(ground, tmp_path, mode="observe") as agent:
        wait_until(lambda: (row_of(agent, pod) or {}).get("managed"), 20, "it is managed")
        agent.config_path.write_text('[selection]\nnamespaces = ["elsewhere"]\n')
        wait_until(lambda: "selection.namespaces" in row_of(agent, pod)["reason"], 10, "the new settings are in force")
        agent.config_path.write_text("[market]\novercomit = 4\n")
        wait_until(lambda: "did you mean market.overcommit?" in agent.log(), 10, "the bad ones are refused")
        assert not row_of(agent, pod)["managed"]


def test_when_nothing_happens_nothing_is_written(ground: Grounds, namespace: str, tmp_path: Path) -> None:
    RunningPod(
        ground.cluster, namespace, a_pod("web", a_worker(), node="node-1", annotations={"mbcas.io/min-cpu": "200m"})
    )
    with an_agent(ground, tmp_path) as agent:
        wait_until(lambda: agent.status()["market_mode"] is not None, 20, "the market was cleared")
        passes = agent.status()["counters"]["passes"]
        wait_until(lambda: agent.status()["counters"]["passes"] > passes + 40, 60, "time passes")
        assert b"mbcas_allocation_writes_total{" not in agent.get("/metrics")[1]


def test_its_end_is_quick_and_clean(ground: Grounds, namespace: str, tmp_path: Path) -> None:
    pod = RunningPod(ground.cluster, namespace, a_hungry_pod())
    with an_agent(ground, tmp_path) as agent:
        wait_until(lambda: generation(pod) == 1, 20, "it is decided")
        agent.process.terminate()
        assert agent.process.wait(5) == 0
        assert "Traceback" not in agent.log()
        assert not (agent.directory / "s").exists()
        assert generation(pod) == 1
