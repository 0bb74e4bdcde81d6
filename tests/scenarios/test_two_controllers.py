"""Two real controllers, each with a network of its own to one real API server: never do both of them patch.

What the API server was asked, by whom and when is read off the two proxies.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from cluster.control_plane import ControlPlane
from faults import kinds
from faults.proxy import Proxy, Request
from scenarios import recoveries
from scenarios.daemons import Role, running
from scenarios.fleet import Fleet
from scenarios.waiting import wait_until

pytestmark = pytest.mark.control_plane

# The Lease lasts 15 s from its last renewal, others look every 2 s; the rest is for a busy machine.
TAKES_OVER_WITHIN_S = 40.0
APPLIED_WITHIN_S = 30.0


class Two(NamedTuple):
    """The replicas; `a` leads at first."""

    fleet: Fleet
    plane: ControlPlane
    a: Role
    b: Role
    to_a: Proxy
    to_b: Proxy

    def holder(self) -> str:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.fleet.namespace}/leases/mbcas-controller"
        code, lease = self.plane.request("GET", path)
        return lease["spec"].get("holderIdentity") or "" if code == 200 else ""

    def words(self) -> str:
        return f"a: {self.a.words()}\nb: {self.b.words()}"


@pytest.fixture
def two(plane: ControlPlane, fleet: Fleet, a_proxy: Callable[[], Proxy], tmp_path: Path) -> Iterator[Two]:
    to_a, to_b = a_proxy(), a_proxy()

    def flags(name: str, proxy: Proxy) -> list[str]:
        kubeconfig = plane.kubeconfig_with(plane.pki.tokens["admin"], server=proxy.url)
        return ["--kubeconfig", kubeconfig, "--namespace", fleet.namespace, "--identity", name, "--mode", "enforce"]

    with ExitStack() as stack:
        a = stack.enter_context(running("controller", tmp_path / "a", *flags("a", to_a)))
        pair = Two(fleet, plane, a, a, to_a, to_b)
        wait_until(lambda: pair.holder() == "a", TAKES_OVER_WITHIN_S, "a leads")
        b = stack.enter_context(running("controller", tmp_path / "b", *flags("b", to_b)))
        pair = pair._replace(b=b)
        fleet.decide_all(lambda i: 300)
        wait_until(lambda: pair.fleet.is_applied(300), APPLIED_WITHIN_S, "all is applied", pair.words)
        # Nothing stands between a killed process and its end, so that nothing is waited for at the end either.
        stack.callback(to_a.heal)
        yield pair


def is_write(request: Request) -> bool:
    """Whatever moves a pod or reports on one; events are for people, and may be late."""
    return request.method != "GET" and ("/pods/" in request.path or "/podallocations/" in request.path)


def is_resize(request: Request) -> bool:
    return request.path.endswith("/resize")


def is_taken(request: Request) -> bool:
    """The request with which a Lease changes hands, as far as the proxy can tell: a renewal that was accepted."""
    return request.method in {"PUT", "POST"} and "/leases" in request.path and request.code in {200, 201}


def taken_over_at_s(two: Two) -> float:
    """When b's first successful write of the Lease was with the API server."""
    return min(request.at_s for request in two.to_b.seen(is_taken))


def test_the_one_who_waits_writes_nothing(two: Two) -> None:
    assert two.to_b.seen(lambda request: request.method != "GET") == []
    assert two.to_a.seen(is_resize) != []


def test_a_leader_that_leaves_hands_over_at_once(two: Two) -> None:
    began_s = time.monotonic()
    assert two.a.stop() == 0
    two.fleet.decide_all(lambda i: 400)
    wait_until(lambda: two.fleet.is_applied(400), APPLIED_WITHIN_S, "all is applied", two.words)
    took_s = time.monotonic() - began_s

    recoveries.note("controller", "the leader leaves", took_s)
    assert two.holder() == "b"
    # It did not have to wait for the Lease to run out.
    assert took_s < 15


@pytest.mark.parametrize("where", ["before the API server got it", "after it was carried out"])
def test_a_leader_that_is_killed_in_the_middle_of_a_patch_leaves_nothing_half_done(two: Two, where: str) -> None:
    fault = kinds.HalfOpen() if where.startswith("before") else kinds.Slow(bytes_per_s=1)
    two.to_a.inject(fault, of=is_resize)
    began_s = time.monotonic()
    two.fleet.decide_all(lambda i: 400)
    wait_until(
        lambda: any(request.fault for request in two.to_a.seen(is_resize, since_s=began_s)),
        APPLIED_WITHIN_S,
        "a is in the middle of a patch",
        two.words,
    )
    two.a.kill()
    killed_s = time.monotonic()
    took_s = wait_until(
        lambda: two.fleet.is_applied(400), TAKES_OVER_WITHIN_S + APPLIED_WITHIN_S, "all is applied", two.words
    )
    # What a had sent may still arrive, late.
    two.to_a.heal()
    wait_until(lambda: all(one.ended_at_s for one in two.to_a.connections), 10, "all that a had sent has arrived")

    recoveries.note("controller", f"leader killed mid-patch, {where}", took_s)
    assert two.fleet.is_applied(400)
    assert two.holder() == "b"
    assert taken_over_at_s(two) > killed_s
    assert all("Conflict" not in json.dumps(one["status"].get("conditions")) for one in two.fleet.allocations())


def test_a_leader_whose_network_stalls_has_stopped_before_the_other_one_starts(two: Two) -> None:
    # It stalls while a patches: what a has sent is on its way, and arrives when b has gone on.
    two.to_a.inject(kinds.HalfOpen(), of=is_resize)
    stalled_s = time.monotonic()
    two.fleet.decide_all(lambda i: 400)
    wait_until(
        lambda: any(request.fault for request in two.to_a.seen(is_resize, since_s=stalled_s)),
        APPLIED_WITHIN_S,
        "a is in the middle of a patch",
        two.words,
    )
    two.to_a.inject(kinds.HalfOpen())
    took_s = wait_until(
        lambda: two.fleet.is_applied(400), TAKES_OVER_WITHIN_S + APPLIED_WITHIN_S, "all is applied", two.words
    )
    recoveries.note("controller", "the leader's network stalls", took_s)
    assert two.holder() == "b"
    assert taken_over_at_s(two) - stalled_s > 10  # a might have renewed just before

    two.fleet.decide_all(lambda i: 350)
    wait_until(lambda: two.fleet.is_applied(350), APPLIED_WITHIN_S, "all is applied", two.words)
    before = sorted(one["metadata"]["resourceVersion"] for one in two.fleet.allocations())
    healed_s = time.monotonic()
    two.to_a.heal()
    wait_until(
        lambda: any(request.code == 200 for request in two.to_a.seen(since_s=healed_s)), 60, "a is back", two.words
    )
    wait_until(two.a.is_ready, 60, "a is well")

    # Nothing that a wrote was sent after b took over, and what arrived late changed nothing.
    sent_late = [request for request in two.to_a.seen(is_write) if request.at_s > taken_over_at_s(two)]
    assert sent_late == [], [(request.method, request.path, request.fault) for request in sent_late]
    arrived_late = [
        request
        for request in two.to_a.seen(is_write)
        if request.forwarded_at_s is not None and request.forwarded_at_s > taken_over_at_s(two)
    ]
    assert arrived_late != []
    wait_until(lambda: all(request.code for request in arrived_late), 10, "all that a had sent is answered")
    assert {request.code for request in arrived_late} == {409}
    assert set(two.fleet.limits_milli()) == {350}
    assert sorted(one["metadata"]["resourceVersion"] for one in two.fleet.allocations()) == before
    assert two.holder() == "b"


def test_a_leader_that_was_frozen_does_not_go_on_where_it_stopped(two: Two) -> None:
    two.a.process.send_signal(signal.SIGSTOP)
    try:
        two.fleet.decide_all(lambda i: 400)
        took_s = wait_until(
            lambda: two.fleet.is_applied(400), TAKES_OVER_WITHIN_S + APPLIED_WITHIN_S, "all is applied", two.words
        )
        recoveries.note("controller", "the leader is frozen", took_s)
        # Both see it: a finds it among what was waiting for it, b leads.
        two.fleet.decide_all(lambda i: 350)
    finally:
        woken_s = time.monotonic()
        two.a.process.send_signal(signal.SIGCONT)
    wait_until(lambda: two.fleet.is_applied(350), APPLIED_WITHIN_S, "all is applied", two.words)
    wait_until(lambda: bool(two.to_a.seen(since_s=woken_s)), 60, "a is awake")

    assert [(r.method, r.path) for r in two.to_a.seen(is_write) if r.at_s > taken_over_at_s(two)] == []
    assert two.holder() == "b"
