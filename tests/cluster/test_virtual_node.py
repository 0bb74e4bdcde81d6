"""A node with cgroup v2 joins the cluster, and its kubelet does what the others do."""

import pytest
from cluster.cluster import Cluster
from cluster.pods import a_container, a_pod
from cluster.polling import poll_until
from cluster.test_cluster import resize

pytestmark = pytest.mark.node_v2


def test_a_resize_reaches_cgroup_v2(cluster: Cluster, node_v2: str) -> None:
    with cluster.namespace() as namespace:
        cluster.pods.start(namespace, a_pod("burning", node=node_v2))
        assert cluster.pods.quota_milli(namespace, "burning") == 200

        resize(cluster, namespace, "burning", "350m")
        poll_until(lambda: cluster.pods.quota_milli(namespace, "burning") == 350, 30, lambda: "the new quota")
        poll_until(lambda: cluster.pods.throttled_periods(namespace, "burning") > 5, 30, lambda: "it is throttled")
        assert cluster.pods.restarts(namespace, "burning") == 0


def test_pods_of_a_guest_reach_the_api_server_and_are_reached_through_it(cluster: Cluster, node_v2: str) -> None:
    does = (
        "echo | nc -w 5 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT && echo reached; exec httpd -f -p 80 -h /etc"
    )
    server = a_container(image="localhost/busybox:1", command=["sh", "-c", does], args=[])
    with cluster.namespace() as namespace:
        cluster.pods.start(namespace, a_pod("server", server, node=node_v2))

        path = f"/api/v1/namespaces/{namespace}/pods/server:80/proxy/hosts"
        poll_until(lambda: "server" in cluster.request("GET", path)[1], 60, lambda: str(cluster.request("GET", path)))
        assert "reached" in cluster.pods.logs(namespace, "server")
