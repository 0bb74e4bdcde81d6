"""What an agent costs and how fast limits follow: a real cluster, real kubelets, real containers.

A hundred containers are five pods with twenty each; calm ones sleep, hot ones do a little ten times a second. Onsets
are those of pods with one container, on both nodes, at random moments: from the first throttled period that the kernel
counts to the new quota in the same kernel's file, through agent, API server, controller, kubelet and container
runtime. All of it, the cluster included, shares the machine's CPUs.

python tests/bench/cluster/bench_agent.py [--json FILE] [--seconds 20] [--onsets 50]
"""

import contextlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import table
from cluster.archives import BUSYBOX
from cluster.cluster import Cluster
from cluster.pods import a_container, a_pod
from rigs.kernel import wait_until
from scenarios import grounds
from scenarios.api_counts import wait_until_calm, writes, written_since
from scenarios.daemons import Role, running
from scenarios.grounds import Grounds
from scenarios.mbcas import agent_flags, controller_flags, manages
from scenarios.workloads import RunningPod, a_worker
from table import Row, quantile

PODS, CONTAINERS = 5, 20
# Limits come down by halves with a cooldown after each; and idle containers are read seldom after a while.
SETTLED_S = 15.0
AT_ONCE = 10  # pods of one batch of onsets
SEEN_WITHIN_S = 60.0


def calm(cluster: Cluster, agent: Role, seconds: float) -> list[Row]:
    """A hundred containers that sleep: nothing changes, and nothing is written."""
    wait_until_calm(cluster, SETTLED_S)
    before, used_s, began_s = writes(cluster), agent.cpu_s(), time.monotonic()
    time.sleep(seconds)
    milli = (agent.cpu_s() - used_s) / (time.monotonic() - began_s) * 1000
    written, what = sum(written_since(cluster, before).values()), "100 calm containers"
    return [
        Row(name="calm_milli", what=f"{what}: agent's CPU", value=milli, unit="millicores", must=5, aim=2),
        Row(name="calm_rss_mb", what=f"{what}: agent's memory", value=agent.rss_mb(), unit="MB", must=64, aim=50),
        Row(name="calm_writes", what=f"{what}: writes in {seconds:g} s", value=written, unit="", must=0),
    ]


def hot(cluster: Cluster, agent: Role, seconds: float) -> list[Row]:
    """A hundred containers that work a little ten times per second: each is read ten times per second."""
    time.sleep(SETTLED_S)
    used_s, began_s = agent.cpu_s(), time.monotonic()
    time.sleep(seconds)
    milli = (agent.cpu_s() - used_s) / (time.monotonic() - began_s) * 1000
    what = "100 hot containers"
    return [
        Row(name="hot_milli", what=f"{what}: agent's CPU", value=milli, unit="millicores"),
        Row(name="hot_rss_mb", what=f"{what}: agent's memory", value=agent.rss_mb(), unit="MB", must=64, aim=50),
    ]


def asleep(name: str) -> dict[str, Any]:
    """A container that does nothing at all."""
    return a_container(name, image=BUSYBOX, command=["sleep", "1000000"], args=[], request="5m", limit="200m")


def at_work(name: str) -> dict[str, Any]:
    """A container that works half a millisecond in each tenth of a second."""
    return a_worker(name, needs_milli=5, request="5m", limit="200m")


@contextlib.contextmanager
def a_hundred(cluster: Cluster, namespace: str, a_container: Callable[[str], dict[str, Any]]) -> Iterator[None]:
    """A hundred containers on node-1; gone at the end."""
    containers = [a_container(f"c{i:02}") for i in range(CONTAINERS)]
    pods = [a_pod(f"many-{i}", *containers, node="node-1") for i in range(PODS)]
    for pod in pods:
        cluster.pods.start(namespace, pod, within_s=SEEN_WITHIN_S)
    try:
        yield
    finally:
        for pod in pods:
            cluster.pods.delete(namespace, pod["metadata"]["name"])


def onsets(cluster: Cluster, namespace: str, agents: dict[str, Role], count: int) -> list[float]:
    """Milliseconds from the first throttled period to the new quota, each time of another pod that was idle."""
    took_ms: list[float] = []
    moments = random.Random(1)
    nodes = list(agents)
    for batch in range(0, count, AT_ONCE):
        pods = [
            RunningPod(
                cluster,
                namespace,
                a_pod(f"onset-{i}", a_worker(request="20m", limit="200m"), node=nodes[i % len(nodes)]),
            )
            for i in range(batch, min(count, batch + AT_ONCE))
        ]
        for pod in pods:
            wait_until(lambda pod=pod: any(manages(agent, pod.name) for agent in agents.values()),
                       SEEN_WITHIN_S, f"{pod.name} is managed")  # fmt: skip
        time.sleep(4)
        for pod in pods:
            time.sleep(moments.random())
            throttled, before = pod.throttled_periods(), pod.quota_milli() or 0
            pod.need(900)
            wait_until(lambda pod=pod, n=throttled: pod.throttled_periods() > n, 10, "it is throttled")
            raised_s = wait_until(lambda pod=pod, low=before: (pod.quota_milli() or 0) > low, 30, "it is raised")
            took_ms.append(1000 * raised_s)
            cluster.pods.delete(namespace, pod.name)
    return took_ms


def bench(ground: Grounds, directory: Path, seconds: float, count: int) -> list[Row]:
    """All of it on one cluster."""
    cluster, how = ground.cluster, ("--mode", "enforce")
    rows: list[Row] = []
    with cluster.namespace() as namespace, running("controller", directory / "c", *controller_flags(ground), *how):
        for container, measure in ((asleep, calm), (at_work, hot)):
            flags = agent_flags(ground, "node-1")
            with (
                a_hundred(cluster, namespace, container),
                running("agent", directory / measure.__name__, *flags, *how) as agent,
            ):
                rows += measure(cluster, agent, seconds)
        with contextlib.ExitStack() as stack:
            agents = {
                node: stack.enter_context(
                    running("agent", directory / node, *agent_flags(ground, node, capacity="20000m"), *how)
                )
                for node in cluster.nodes
            }
            took_ms = onsets(cluster, namespace, agents, count)
    what = f"throttle onset to new quota of a real pod, {len(took_ms)} times"
    return [
        *rows,
        Row(name="onset_p50_ms", what=f"{what}, p50", value=quantile(took_ms, 0.5), unit="ms", must=3000, aim=600),
        Row(name="onset_p95_ms", what=f"{what}, p95", value=quantile(took_ms, 0.95), unit="ms", must=3000),
        Row(name="onset_max_ms", what=f"{what}, the longest", value=max(took_ms), unit="ms"),
    ]


def main() -> None:
    parser = table.options(__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--onsets", type=int, default=50)
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench_agent: needs root to make nodes")
    with Cluster() as cluster, grounds.prepared(cluster) as ground, tempfile.TemporaryDirectory() as directory:
        rows = bench(ground, Path(directory), chosen.seconds, chosen.onsets)
    table.show("agents on real nodes", rows, chosen.json)


if __name__ == "__main__":
    main()
