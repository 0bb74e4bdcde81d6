"""The cluster itself: two nodes, real cgroups, and nothing left of it."""

import pytest
from cluster.cluster import Cluster
from cluster.control_plane import STRATEGIC_PATCH
from cluster.pods import a_container, a_pod, cgroup_of
from cluster.polling import poll_until

pytestmark = pytest.mark.node


def resize(cluster: Cluster, namespace: str, name: str, limit: str) -> None:
    change = {"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": limit}}}]}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/resize"
    code, answer = cluster.request("PATCH", path, change, STRATEGIC_PATCH)
    assert code == 200, answer


def test_a_resize_reaches_the_kernel_and_restarts_nothing(cluster: Cluster) -> None:
    with cluster.namespace() as namespace:
        for node in cluster.nodes:
            cluster.pods.start(namespace, a_pod(node, node=node))
            assert cluster.pods.quota_milli(namespace, node) == 200

            resize(cluster, namespace, node, "350m")
            poll_until(lambda node=node: cluster.pods.quota_milli(namespace, node) == 350, 5, lambda: "the new quota")
            assert cluster.pods.restarts(namespace, node) == 0


def test_a_burner_needs_what_it_is_told(cluster: Cluster) -> None:
    with cluster.namespace() as namespace:
        cluster.pods.start(namespace, a_pod("modest", a_container(milli=50)))
        cluster.pods.start(namespace, a_pod("greedy", a_container(milli=1000)))

        poll_until(lambda: cluster.pods.throttled_periods(namespace, "greedy") > 10, 10, lambda: "it is throttled")
        assert cluster.pods.throttled_periods(namespace, "modest") < cluster.pods.throttled_periods(namespace, "greedy")


def test_pods_reach_the_api_server_and_are_reached_through_it(cluster: Cluster) -> None:
    server = a_container(image="localhost/busybox:1", command=["httpd", "-f", "-p", "8080", "-h", "/etc"], args=[])
    asks = ["sh", "-c", "echo | nc $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT && echo reached"]
    client = a_container(image="localhost/busybox:1", command=asks, args=[])
    with cluster.namespace() as namespace:
        cluster.pods.start(namespace, a_pod("server", server, node="node-1"))
        path = f"/api/v1/namespaces/{namespace}/pods"
        cluster.create(path, a_pod("client", client, node="node-2", restartPolicy="Never"))
        cluster.pods.wait_for(namespace, "client", lambda pod: pod["status"]["phase"] == "Succeeded", "is done")

        assert "reached" in cluster.pods.logs(namespace, "client")
        assert "server" in cluster.get(f"{path}/server:8080/proxy/hosts")


def test_a_kubelet_that_was_killed_comes_back_to_the_same_containers(cluster: Cluster) -> None:
    with cluster.namespace() as namespace:
        before = cluster.pods.start(namespace, a_pod("patient", node="node-2"))
        cluster.restart_kubelet("node-2")

        resize(cluster, namespace, "patient", "400m")
        poll_until(lambda: cluster.pods.quota_milli(namespace, "patient") == 400, 5, lambda: "the new quota")
        after = cluster.pods.get(namespace, "patient")
        assert cgroup_of(after, "main") == cgroup_of(before, "main")
