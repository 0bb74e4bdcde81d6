from fakes.podobjects import STARTED_WALL_S, a_container, a_pod, container_id

from mbcasd.kube.allocating.members import container_ids, members_of, would_be_guaranteed

ALL = frozenset({"app", "proxy"})
EQUAL = ("64Mi", "64Mi")


def guaranteed(*containers, moving=ALL, **more):
    pod = a_pod(*containers, **more)
    return would_be_guaranteed(pod, members_of(pod), moving)


def test_a_container_is_read_from_spec_and_status_together():
    pod = a_pod(a_container("app", request="0.1", limit="2"))

    (member,) = members_of(pod)

    assert (member.request_milli, member.limit_milli) == (100, 2000)
    assert member.container_id == container_id("web", "app")
    assert (member.is_started, member.can_resize, member.started_wall_s) == (True, True, STARTED_WALL_S)


def test_quantities_finer_than_a_millicore_are_rounded_up_as_the_api_does():
    (member,) = members_of(a_pod(a_container(request="100500u", limit="1k")))
    assert (member.request_milli, member.limit_milli) == (101, 1_000_000)


def test_sidecars_are_containers_and_other_init_containers_are_not():
    pod = a_pod(
        a_container("app"),
        a_container("proxy", sidecar=True),
    )
    init = pod.spec.init_containers[0]
    assert [member.name for member in members_of(pod)] == ["app", "proxy"]

    from msgspec.structs import replace

    once = replace(pod, spec=replace(pod.spec, init_containers=(replace(init, restart_policy=None),)))
    assert [member.name for member in members_of(once)] == ["app"]


def test_a_container_that_does_not_run_is_not_started():
    (member,) = members_of(a_pod(a_container(started=False, resizable=False)))
    assert (member.is_started, member.can_resize) == (False, False)


def test_equal_cpu_makes_a_pod_guaranteed_only_if_all_its_memory_is_equal_too():
    assert guaranteed(a_container("app", memory=EQUAL))
    assert guaranteed(a_container("app", memory=("64Mi", "65536Ki")))
    assert not guaranteed(a_container("app", memory=("32Mi", "64Mi")))
    assert not guaranteed(a_container("app", memory=(None, "64Mi")))
    assert not guaranteed(a_container("app"))


def test_a_container_that_stays_as_it_is_keeps_the_pod_burstable():
    fixed = a_container("proxy", memory=EQUAL, request="10m", limit="20m")
    assert not guaranteed(a_container("app", memory=EQUAL), fixed, moving=frozenset({"app"}))
    assert guaranteed(a_container("app", memory=EQUAL), fixed)
    level = a_container("proxy", memory=EQUAL, request="20m", limit="20m")
    assert guaranteed(a_container("app", memory=EQUAL), level, moving=frozenset({"app"}))


def test_resources_of_the_pod_as_a_whole_decide_alone():
    assert not guaranteed(a_container("app", memory=EQUAL), resources={"limits": {"cpu": "1"}})


def test_the_ids_of_containers_tell_that_one_was_made_again():
    pod = a_pod(a_container("app"), a_container("proxy", sidecar=True))
    assert container_ids(pod) == (
        f"containerd://{container_id('web', 'app')}",
        f"containerd://{container_id('web', 'proxy')}",
    )
