"""uninstall and restore against a real API server: what owners had set comes back, and nothing is left."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import SYSTEM, Ground, resize
from scenarios.fleet import Fleet

from mbcasd.kube.times import rfc3339_micro

pytestmark = pytest.mark.control_plane

CONTROLLERS = "/apis/apps/v1/namespaces/mbcas-system/deployments/mbcas-controller"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/mbcas-system/leases"


def results(report: dict) -> dict[str, str]:
    return {pod["pod"]: pod["result"] for pod in report["pods"]}


def test_every_limit_goes_back_and_nothing_of_mbcas_is_left(fleet: Fleet, ground: Ground) -> None:
    assert ground.run("install", "--no-wait", "--mode", "enforce").code == 0
    assert fleet.limits_milli() == [500, 500, 500]

    done = ground.run("uninstall", "-o", "json")

    assert done.code == 0, done
    assert set(results(done.data["restored"]).values()) == {"restored"}
    assert (fleet.limits_milli(), fleet.requests_milli()) == ([200, 200, 200], [100, 100, 100])
    assert ground.labelled() == []
    assert not ground.exists(SYSTEM)
    assert done.data["labelled_namespaces"] == [fleet.namespace]


def test_a_dry_run_tells_both_and_changes_neither(fleet: Fleet, ground: Ground) -> None:
    ground.run("install", "--no-wait", "--mode", "enforce")

    done = ground.run("uninstall", "--dry-run", "-o", "json")

    assert done.code == 0, done
    assert set(results(done.data["restored"]).values()) == {"would be restored"}
    assert {"kind": "Namespace", "namespace": "", "name": "mbcas-system"} in done.data["removed"]
    assert fleet.limits_milli() == [500, 500, 500]
    assert ground.plane.get(CONTROLLERS)["spec"]["replicas"] == 2


def test_each_pod_is_told_what_became_of_it(fleet: Fleet, ground: Ground) -> None:
    resize(ground, fleet, 0, 333, manager="a-person")  # somebody else's word
    resize(ground, fleet, 1, 700, manager="mbcas-controller")  # killed before it could tell
    ground.plane.request("DELETE", f"{fleet.pods_path()}/{fleet.pod_name(2)}?gracePeriodSeconds=0")

    done = ground.run("restore", "--namespace", fleet.namespace, "-o", "json")

    assert done.code == 0, done
    assert list(results(done.data).values()) == ["left alone", "restored", "gone"]
    assert fleet.limits_milli() == [333, 200]
    assert "somebody else has set web to 333m since" in done.data["pods"][0]["detail"]
    again = ground.run("restore", "--namespace", fleet.namespace, "-o", "json")
    assert list(results(again.data).values()) == ["left alone", "as owned", "gone"]


def test_a_limit_that_may_not_go_back_stops_the_removal(fleet: Fleet, ground: Ground) -> None:
    ground.run("install", "--no-wait", "--mode", "enforce")
    bounds = {"limits": [{"type": "Container", "min": {"cpu": "300m"}}]}
    path = f"/api/v1/namespaces/{fleet.namespace}/limitranges"
    ground.plane.create(path, {"metadata": {"name": "least"}, "spec": bounds})

    done = ground.run("uninstall")

    assert done.code == 1
    assert "minimum cpu usage per Container is 300m" in done.out
    assert "Nothing was removed: 3 pods could not be put back." in done.out
    assert ground.exists(SYSTEM)
    assert ground.plane.get(CONTROLLERS)["spec"]["replicas"] == 0

    ground.plane.request("DELETE", f"{path}/least")
    assert ground.run("uninstall").code == 0
    assert fleet.limits_milli() == [200, 200, 200]


def test_with_force_it_is_removed_all_the_same(fleet: Fleet, ground: Ground) -> None:
    ground.run("install", "--no-wait")
    bounds = {"limits": [{"type": "Container", "min": {"cpu": "300m"}}]}
    ground.plane.create(
        f"/api/v1/namespaces/{fleet.namespace}/limitranges", {"metadata": {"name": "least"}, "spec": bounds}
    )

    done = ground.run("uninstall", "--force")

    assert done.code == 0, done
    assert "3 could NOT be put back" in done.err
    assert ground.labelled() == []
    assert fleet.limits_milli() == [500, 500, 500]


def test_limits_can_be_put_back_without_removing_anything(fleet: Fleet, ground: Ground) -> None:
    ground.run("install", "--no-wait", "--mode", "enforce")

    done = ground.run("restore")

    assert done.code == 0, done
    assert "the 2 controllers were stopped; start them with: mbcasctl upgrade" in done.err
    assert "3 pods: 3 put back" in done.out
    assert fleet.limits_milli() == [200, 200, 200]
    assert ground.plane.get(CONTROLLERS)["spec"]["replicas"] == 0
    status = ground.run("status")
    assert status.code == 3
    assert "the controllers are scaled to none" in status.out


@contextmanager
def a_leader(ground: Ground, *, renews: bool) -> Iterator[None]:
    """Somebody outside of the cluster holds the lease, for two seconds at a time."""

    def lease() -> dict:
        now = rfc3339_micro(time.time())
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "mbcas-controller", "namespace": "mbcas-system"},
            "spec": {"holderIdentity": "host-7", "leaseDurationSeconds": 2, "renewTime": now},
        }

    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.5):
            ground.apply(f"{LEASES}/mbcas-controller", lease(), manager="host-7")

    ground.apply(f"{LEASES}/mbcas-controller", lease(), manager="host-7")
    thread = threading.Thread(target=renew)
    if renews:
        thread.start()
    yield
    ended.set()
    if renews:
        thread.join()


def test_while_somebody_still_leads_nothing_is_put_back(fleet: Fleet, ground: Ground) -> None:
    ground.run("install", "--no-wait", "--mode", "enforce")
    with a_leader(ground, renews=True):
        done = ground.run("restore")

        assert done.code == 1
        assert "host-7 still leads, although no controller runs in the cluster" in done.err
        assert fleet.limits_milli() == [500, 500, 500]
        assert ground.run("restore", "--force").code == 0
        assert fleet.limits_milli() == [200, 200, 200]


def test_a_lease_that_nobody_renews_is_waited_for(fleet: Fleet, ground: Ground) -> None:
    ground.run("install", "--no-wait", "--mode", "enforce")
    with a_leader(ground, renews=False):
        assert ground.run("restore").code == 0

    assert fleet.limits_milli() == [200, 200, 200]


def test_where_mbcas_never_was_there_is_nothing_to_do(ground: Ground) -> None:
    restored, removed = ground.run("restore"), ground.run("uninstall")

    assert (restored.code, removed.code) == (0, 0)
    assert "MBCAS is not installed" in restored.out
    assert "There was nothing of MBCAS to remove." in removed.out
