"""A resize changes CPU of named containers of one pod in one state, and nothing else."""

from rigs.resizing import a_container, a_pod, cpu

from mbcasd.kube.controlling.patches import resize_body


def test_the_patch_names_pod_state_and_containers() -> None:
    pod = a_pod(a_container(), a_container("other"), sidecars=(a_container("proxy"),))

    body = resize_body(pod, (cpu(300), cpu(50, 20, "proxy")))

    assert body == {
        "metadata": {"uid": pod.metadata.uid, "resourceVersion": "7"},
        "spec": {
            "containers": [{"name": "app", "resources": {"limits": {"cpu": "300m"}}}],
            "initContainers": [{"name": "proxy", "resources": {"limits": {"cpu": "50m"}, "requests": {"cpu": "20m"}}}],
        },
    }


def test_a_request_that_is_kept_is_not_mentioned_for_null_would_become_the_limit() -> None:
    (container,) = resize_body(a_pod(), (cpu(300),))["spec"]["containers"]

    assert "requests" not in container["resources"]
