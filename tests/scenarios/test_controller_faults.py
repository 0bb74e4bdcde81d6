"""A real controller, a real API server, and a network between them that misbehaves.

Every fault has to cost nothing but time: no decision is lost, no limit is set that nobody decided, and nobody asks in
a busy loop meanwhile. What kubelets do is done by a fake: none of it depends on them.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster.control_plane import ControlPlane
from faults import kinds
from faults.kinds import Fault
from faults.proxy import Proxy, Request, Which, busiest_second, every, watches
from scenarios import recoveries
from scenarios.api_counts import writes, written_since
from scenarios.daemons import Role, running
from scenarios.fleet import Caller, Fleet
from scenarios.waiting import wait_until, watch_for

pytestmark = pytest.mark.control_plane

# Long enough for all back-offs to be in their stride, short enough to keep the Lease (10 s) in most cases.
SUFFERS_S = 7.0
RIGHT_WITHIN_S = 60.0
# A watch that has said nothing for 100 s is taken for dead; bookmarks come once a minute.
DEAD_WATCH_NOTICED_WITHIN_S = 150.0
# Five list-watches, the Lease, and the pods that are due. A busy loop makes thousands.
MOST_IN_A_SECOND = 30
MOST_IN_THE_LONG_RUN_PER_S = 12
# Where nobody listens there is nobody who counts; a busy loop costs a whole CPU.
MOST_CPU_RATIO = 0.3


def is_resize(request: Request) -> bool:
    return request.path.endswith("/resize")


def is_write(request: Request) -> bool:
    return request.method != "GET" and "/leases" not in request.path


FAULTS: dict[str, tuple[Fault, Which]] = {
    "connections refused": (kinds.Refused(), every),
    "half-open: nothing gets through": (kinds.HalfOpen(), every),
    "stalled for 5 s": (kinds.Stall(5), every),
    "410 for every list and watch": (kinds.expired(), lambda request: request.method == "GET"),
    "410 inside every watch": (kinds.expired_in_the_stream(), watches),
    "429 with Retry-After: 2": (kinds.too_many_requests(2), every),
    "500 for everything": (kinds.server_error(), every),
    "200 bytes per second": (kinds.Slow(200), every),
    "closed at once": (kinds.ClosedAtOnce(), every),
    "answers cut after 100 bytes": (kinds.Cut(100), every),
    "answers to resizes are lost": (kinds.AnswerLost(), is_resize),
}


@pytest.fixture
def proxy(a_proxy: Callable[[], Proxy]) -> Proxy:
    return a_proxy()


@pytest.fixture
def controller(plane: ControlPlane, fleet: Fleet, proxy: Proxy, tmp_path: Path) -> Iterator[Role]:
    kubeconfig = plane.kubeconfig_with(plane.pki.tokens["admin"], server=proxy.url)
    flags = ("--kubeconfig", kubeconfig, "--namespace", fleet.namespace, "--identity", "a", "--mode", "enforce")
    with running("controller", tmp_path / "a", *flags) as controller:
        yield controller


def asked_limits(proxy: Proxy) -> set[str]:
    """All limits that were ever asked for; fails when anything but CPU was."""
    limits = set()
    for request in proxy.seen(is_resize):
        spec = json.loads(request.body)["spec"]
        for container in spec["containers"]:
            assert set(container["resources"].get("limits", {})) <= {"cpu"}
            limits.add(container["resources"]["limits"]["cpu"])
    return limits


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_loses_nothing_and_costs_no_busy_loop(name: str, fleet: Fleet, proxy: Proxy, controller: Role) -> None:
    fault, of = FAULTS[name]
    fleet.decide_all(lambda i: 300)
    wait_until(lambda: fleet.is_applied(300), RIGHT_WITHIN_S, "300m everywhere", controller.words)

    began_s, used_s = time.monotonic(), controller.cpu_s()
    proxy.inject(fault, of)
    if isinstance(fault, kinds.Answer):
        proxy.break_off()  # else the watches that stand would not hear of it
    fleet.decide_all(lambda i: 250)
    watch_for(SUFFERS_S, controller.must_run)
    cpu_ratio = (controller.cpu_s() - used_s) / (time.monotonic() - began_s)
    asked_at_s = [request.at_s for request in proxy.seen(since_s=began_s)] + proxy.connects(since_s=began_s)
    proxy.heal()
    took_s = wait_until(lambda: fleet.is_applied(250), RIGHT_WITHIN_S, "250m everywhere", controller.words)

    recoveries.note("controller", name, took_s, busiest_second(asked_at_s))
    assert busiest_second(asked_at_s) <= MOST_IN_A_SECOND
    assert len(asked_at_s) <= MOST_IN_THE_LONG_RUN_PER_S * SUFFERS_S
    assert cpu_ratio <= MOST_CPU_RATIO
    assert asked_limits(proxy) <= {"300m", "250m"}
    assert set(fleet.requests_milli()) == {100}


def test_connections_that_have_died_without_a_word_are_noticed(fleet: Fleet, proxy: Proxy, controller: Role) -> None:
    fleet.decide_all(lambda i: 300)
    wait_until(lambda: fleet.is_applied(300), RIGHT_WITHIN_S, "300m everywhere", controller.words)
    proxy.inject(kinds.OldOnesDead())
    fleet.decide_all(lambda i: 250)
    took_s = wait_until(lambda: fleet.is_applied(250), DEAD_WATCH_NOTICED_WITHIN_S, "250m everywhere", controller.words)

    recoveries.note("controller", "old connections dead, new ones work", took_s)


def test_when_nothing_changes_nothing_is_asked_for(
    plane: ControlPlane, fleet: Fleet, proxy: Proxy, controller: Role
) -> None:
    fleet.decide_all(lambda i: 300)
    wait_until(lambda: fleet.is_applied(300), RIGHT_WITHIN_S, "300m everywhere")
    # Events for people follow a little later.
    wait_until(lambda: not proxy.seen(is_write, since_s=time.monotonic() - 2), RIGHT_WITHIN_S, "all is said")
    before, began_s = writes(plane), time.monotonic()
    watch_for(SUFFERS_S)

    assert proxy.seen(is_write, since_s=began_s) == []
    assert written_since(plane, before) == {}


def test_a_decision_of_the_same_values_writes_nothing(fleet: Fleet, proxy: Proxy, controller: Role) -> None:
    fleet.decide_all(lambda i: 300)
    wait_until(lambda: fleet.is_applied(300), RIGHT_WITHIN_S, "300m everywhere")
    versions = [one["metadata"]["resourceVersion"] for one in fleet.allocations()]
    caller = Caller(fleet.door)
    fleet.decide(caller, 0, 300)
    caller.close()

    assert [one["metadata"]["resourceVersion"] for one in fleet.allocations()] == versions
    assert len(proxy.seen(is_resize)) == 3
