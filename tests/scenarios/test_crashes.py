"""Whatever is killed on a real cluster comes back to the same limits, and what was under way is finished."""

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.cluster import Cluster
from cluster.pods import a_pod
from scenarios import recoveries
from scenarios.daemons import running
from scenarios.grounds import Grounds
from scenarios.mbcas import QUICK, Mbcas, agent_flags, controller_flags, mbcas
from scenarios.waiting import wait_until, watch_for
from scenarios.workloads import RunningPod, a_worker

pytestmark = pytest.mark.node

MOVES_WITHIN_S = 60.0
ETCD_STALLS_S = 7.0
# The first raises may overshoot to the double or more, so the second need has to be far from the first.
CALM_MILLI, BUSY_MILLI = 150, 900
# Limits move when it is worth it, and on a busy machine nobody gets to use all of 900m.
ENOUGH_MILLI = 800


def a_moved_pod(cluster: Cluster, namespace: str, both: Mbcas) -> RunningPod:
    web = RunningPod(cluster, namespace, a_pod("web", a_worker(request="50m", limit="100m"), node="node-1"))
    web.need(CALM_MILLI)
    wait_until(lambda: (web.quota_milli() or 0) >= CALM_MILLI, MOVES_WITHIN_S, "it is moved", both.words)
    wait_until(lambda: web.phase().startswith("Applied"), MOVES_WITHIN_S, "it is told", both.words)
    return web


def kill_the_agent(both: Mbcas, cluster: Cluster) -> None:
    both.agent.kill()
    both.agent.start()


def kill_the_controller(both: Mbcas, cluster: Cluster) -> None:
    both.controller.kill()
    both.controller.start()


def kill_the_kubelet(both: Mbcas, cluster: Cluster) -> None:
    cluster.restart_kubelet("node-1")


def kill_the_api_server(both: Mbcas, cluster: Cluster) -> None:
    cluster.restart_apiserver()


def stall_etcd(both: Mbcas, cluster: Cluster) -> None:
    """As a disk that takes seconds for a sync does to it; what was written meanwhile may have been lost or not."""
    cluster.etcd.signal(signal.SIGSTOP)
    try:
        watch_for(ETCD_STALLS_S, both.controller.must_run)
    finally:
        cluster.etcd.signal(signal.SIGCONT)


def kill_all_of_mbcas_and_the_api_server(both: Mbcas, cluster: Cluster) -> None:
    for daemon in both:
        daemon.kill()
    cluster.restart_apiserver()
    for daemon in both:
        daemon.start()


CRASHES: dict[str, Callable[[Mbcas, Cluster], None]] = {
    "agent killed": kill_the_agent,
    "controller killed, no other one there": kill_the_controller,
    "kubelet killed": kill_the_kubelet,
    "API server killed": kill_the_api_server,
    "etcd stalled": stall_etcd,
    "everything but the node killed": kill_all_of_mbcas_and_the_api_server,
}


@pytest.mark.parametrize("name", CRASHES)
def test_after_a_crash_limits_go_on_following_need(
    name: str, ground: Grounds, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with mbcas(ground, tmp_path) as both:
        web = a_moved_pod(cluster, namespace, both)
        web.need(BUSY_MILLI)
        CRASHES[name](both, cluster)
        lowest_milli, began_s = float(CALM_MILLI), time.monotonic()
        while (web.quota_milli() or 0) < ENOUGH_MILLI:
            lowest_milli = min(lowest_milli, web.quota_milli() or 0)
            assert time.monotonic() - began_s < MOVES_WITHIN_S, both.words()
            time.sleep(0.02)
        recoveries.note("all of it", name, time.monotonic() - began_s)
        wait_until(lambda: web.phase().startswith("Applied"), MOVES_WITHIN_S, "it is told", both.words)

        # Nobody took anything away from a pod that needs more, or forgot what the owner had set.
        assert lowest_milli >= CALM_MILLI - 10
        allocation = web.allocation()
        assert allocation is not None
        assert allocation["spec"]["original"] == [{"name": "main", "limitMilli": 100, "requestMilli": 50}]
        assert web.restarts() == 0
        cluster.wait_for_node("node-1")


@pytest.mark.skipif(shutil.which("faketime") is None, reason="not installed: faketime")
@pytest.mark.parametrize(("before", "after"), [("+0", "+3600"), ("+7200", "+3600")], ids=["forward", "back"])
def test_a_wall_clock_that_jumps_moves_no_limit_and_loses_no_lease(
    before: str, after: str, ground: Grounds, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text(before)
    fake = _faked_clock(clock)
    how = ("--mode", "enforce")
    with (
        running("controller", tmp_path / "c", *controller_flags(ground), *how, config=QUICK, **fake) as controller,
        running("agent", tmp_path / "a", *agent_flags(ground, "node-1"), *how, config=QUICK, **fake) as agent,
    ):
        both = Mbcas(agent, controller)
        web = a_moved_pod(cluster, namespace, both)
        lease = "/apis/coordination.k8s.io/v1/namespaces/mbcas-system/leases/mbcas-controller"
        taken = cluster.get(lease)["spec"]["leaseTransitions"]
        clock.write_text(after)
        # A pod that was there, and one that appears when the clocks of cluster and daemons disagree.
        web.need(BUSY_MILLI)
        late = RunningPod(cluster, namespace, a_pod("late", a_worker(limit="200m"), node="node-1"))
        late.need(300)
        took_s = wait_until(
            lambda: (web.quota_milli() or 0) >= ENOUGH_MILLI and (late.quota_milli() or 0) >= 300,
            MOVES_WITHIN_S,
            "limits follow need",
            both.words,
        )
        recoveries.note("all of it", f"wall clock jumps from {before} to {after} s", took_s)
        # It comes down again too: no cooldown lasts for an hour.
        web.need(100)
        wait_until(lambda: (web.quota_milli() or 0) <= 500, MOVES_WITHIN_S, "they fall again", both.words)

        assert cluster.get(lease)["spec"]["leaseTransitions"] == taken
        assert controller.process.poll() is None
        assert agent.process.poll() is None


def _faked_clock(file: Path) -> dict[str, str]:
    """An environment in which a process reads its wall clock's offset, and only that, from a file."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert libraries, "faketime has no library"
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_NO_CACHE": "1",
    }
