"""What the controller costs and how fast it is: a real API server with etcd, and ten thousand pods that it follows.

Nodes and containers exist only in the API, and one process plays all kubelets (see `scenarios.fleet`): each resize
is a real PATCH of `pods/resize`, confirmed by a write of the pod's status. Everything shares the machine's CPUs.

python tests/bench/cluster/bench_controller.py [--json FILE] [--pods 10000] [--resizes 3000]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import table
from cluster.control_plane import ControlPlane
from scenarios import grounds
from scenarios.api_counts import wait_until_calm, writes, written_since
from scenarios.daemons import Role, cpu_s, running
from scenarios.fleet import Door, Fleet, Kubelets
from table import Row

WITHIN_S = 600.0
CALM_FOR_S = 20.0


def applied(controller: Role) -> float:
    """How many resizes it has seen confirmed."""
    return controller.metric("mbcas_resize_total", result="applied")


def wait_for(what: str, fact: Callable[[], bool]) -> None:
    """Poll gently: what is measured shares the CPUs."""
    ends_s = time.monotonic() + WITHIN_S
    while not fact():
        if time.monotonic() > ends_s:
            sys.exit(f"bench_controller: not within {WITHIN_S:g} s: {what}")
        time.sleep(0.25)


def calm(plane: ControlPlane, controller: Role, pods: int) -> list[Row]:
    """Everything is as it was decided, and stays so."""
    wait_until_calm(plane)
    rss_mb, before, used_s = controller.rss_mb(), writes(plane), controller.cpu_s()
    time.sleep(CALM_FOR_S)
    written, milli = written_since(plane, before), (controller.cpu_s() - used_s) / CALM_FOR_S * 1000
    held, idle = f"{pods} PodAllocations and their pods held", f"{CALM_FOR_S:g} s in which nothing changes"
    return [
        Row(name="held_rss_mb", what=f"{held}: resident memory", value=rss_mb, unit="MB", must=200, aim=150),
        Row(name="calm_milli", what=f"{idle}: CPU", value=milli, unit="millicores"),
        Row(name="calm_writes", what=f"{idle}: writes but Leases", value=sum(written.values()), unit="", must=0),
    ]


def stream(plane: ControlPlane, kubelets: Kubelets, controller: Role, fleet: Fleet, count: int) -> list[Row]:
    """Resizes from the first decision to the last confirmation, while agents go on writing decisions.

    What each costs whom tells how much of the figure is the machine's: two CPUs have 2000 ms per second.
    """
    parts = {"controller": controller, "API server": plane.apiserver, "etcd": plane.etcd, "kubelets": kubelets}
    before, began_s = applied(controller), time.monotonic()
    used_s = {name: cpu_s(part.pid) for name, part in parts.items()} | {"agents": time.process_time()}
    fleet.decide_all(lambda i: 250, count)
    wait_for(f"{count} resizes are confirmed", lambda: applied(controller) - before >= count)
    per_s = count / (time.monotonic() - began_s)
    now_s = {name: cpu_s(part.pid) for name, part in parts.items()} | {"agents": time.process_time()}
    what = f"{count} resizes while agents write"
    rows = [Row(name="stream_per_s", what=what, value=per_s, unit="per second", must=100, aim=300, at_least=True)]
    for name, ended_s in now_s.items():
        spent_ms = (ended_s - used_s[name]) * 1000 / count
        rows.append(Row(name=f"stream_{name}_ms", what=f"{what}: CPU of {name} for each", value=spent_ms, unit="ms"))
    held_mb = controller.rss_mb()
    return [*rows, Row(name="busy_rss_mb", what=f"{what}: memory", value=held_mb, unit="MB", must=200, aim=150)]


def backlog(controller: Role, count: int) -> list[Row]:
    """Resizes of a leader that finds so many decisions waiting."""
    controller.wait_ready()
    wait_for("the first resize", lambda: applied(controller) > 0)
    first, began_s = applied(controller), time.monotonic()
    wait_for(f"{count} resizes are confirmed", lambda: applied(controller) >= count)
    per_s = (count - first) / (time.monotonic() - began_s)
    what = f"{count} resizes that waited for a leader"
    return [Row(name="backlog_per_s", what=what, value=per_s, unit="per second", must=100, aim=300, at_least=True)]


def bench(plane: ControlPlane, directory: Path, pods: int, resizes: int) -> list[Row]:
    """All of it, with one fleet."""
    grounds.define_podallocations(plane)
    print(f"making {pods} pods", flush=True)
    fleet = Fleet(Door(plane.server, plane.ca_file, plane.pki.tokens["admin"]), pods)
    flags = ("--kubeconfig", plane.kubeconfig, "--namespace", fleet.namespace, "--mode", "enforce", "--identity")
    with Kubelets(fleet) as kubelets:
        # What was decided is what is there already: every object is held, none is moved.
        fleet.decide_all(lambda i: fleet.original_milli)
        with running("controller", directory / "a", *flags, "a") as controller:
            rows = [*calm(plane, controller, pods), *stream(plane, kubelets, controller, fleet, resizes)]
        fleet.decide_all(lambda i: 300, resizes)
        controller = Role("controller", directory / "b", *flags, "b")
        try:
            return [*rows, *backlog(controller, resizes)]
        finally:
            controller.stop()


def main() -> None:
    parser = table.options(__doc__)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--resizes", type=int, default=3_000)
    chosen = parser.parse_args()
    with ControlPlane() as plane, tempfile.TemporaryDirectory() as directory:
        rows = bench(plane, Path(directory), chosen.pods, chosen.resizes)
    table.show("the controller", rows, chosen.json)


if __name__ == "__main__":
    main()
