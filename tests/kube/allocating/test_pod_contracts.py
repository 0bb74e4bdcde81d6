import pytest
from fakes.podobjects import a_container, a_namespace, a_pod, cpu

from mbcasd.kube.allocating.contracts import contract_of
from mbcasd.kube.allocating.limitranges import NO_BOUNDS
from mbcasd.kube.allocating.members import members_of
from mbcasd.model.demand import WorkloadClass
from mbcasd.settings import RequestPolicy, Settings, WorkloadRule

EQUAL = ("64Mi", "64Mi")


def terms(pod=None, *, container=0, original=(), namespace=None, **more):
    pod = pod if pod is not None else a_pod()
    members = members_of(pod)
    return contract_of(
        pod,
        members[container],
        members,
        original={one.name: one for one in original},
        namespace=namespace,
        bounds=more.get("bounds", NO_BOUNDS),
        settings=Settings(workloads=more.get("rules", ())),
        request_policy=more.get("policy", RequestPolicy.KEEP),
        node_milli=4000.0,
    )


def contract(*arguments, **more):
    return terms(*arguments, **more).contract


def test_the_request_is_the_floor_and_the_node_is_the_cap():
    found = contract()
    assert (found.floor_milli, found.cap_milli, found.owner_limit_milli) == (100, 4000, 200)
    assert (found.weight, found.group, found.workload_class) == (1.0, None, WorkloadClass.STANDARD)


def test_annotations_raise_the_floor_and_lower_the_cap():
    found = contract(a_pod(annotations={"mbcas.io/min-cpu": "150m", "mbcas.io/max-cpu": "1.5"}))
    assert (found.floor_milli, found.cap_milli) == (150, 1500)
    # A limit cannot be below the request, whatever an annotation says.
    low = contract(a_pod(annotations={"mbcas.io/min-cpu": "20m", "mbcas.io/max-cpu": "50m"}))
    assert (low.floor_milli, low.cap_milli) == (100, 100)


def test_a_rule_of_the_node_counts_for_a_pod_or_one_container():
    rules = (
        WorkloadRule(match="shop/web:proxy", weight=5.0),
        WorkloadRule(match="shop/*", floor_milli=300, cap_milli=900, weight=2.0, workload_class=WorkloadClass.LATENCY),
    )
    pod = a_pod(a_container("app"), a_container("proxy"))
    app, proxy = contract(pod, rules=rules), contract(pod, container=1, rules=rules)
    assert (app.floor_milli, app.cap_milli, app.weight) == (300, 900, 2.0)
    assert app.workload_class is WorkloadClass.LATENCY
    assert (proxy.floor_milli, proxy.weight) == (100, 5.0)


def test_weights_are_the_owners_times_a_multiplier():
    marks = {"mbcas.io/weight": "3", "mbcas.io/priority-multiplier": "1.5"}
    assert contract(a_pod(annotations=marks), rules=(WorkloadRule(match="*", weight=9.0),)).weight == 4.5


@pytest.mark.parametrize("text", ["heavy", "0", "-1", "nan", "inf", "1e7", ""])
def test_a_weight_that_cannot_be_one_is_ignored_and_told(text):
    found = terms(a_pod(annotations={"mbcas.io/weight": text}))
    assert found.contract.weight == 1.0
    assert "mbcas.io/weight is ignored" in found.complaints[0]


def test_a_quantity_that_is_none_is_ignored_and_told():
    found = terms(a_pod(annotations={"mbcas.io/min-cpu": "much", "mbcas.io/max-cpu": "-1"}))
    assert (found.contract.floor_milli, found.contract.cap_milli) == (100, 4000)
    assert len(found.complaints) == 2
    assert "'much' is not a CPU quantity" in found.complaints[0]


def test_where_equality_would_make_the_pod_guaranteed_the_floor_is_a_quantum_above_the_request():
    assert contract(a_pod(a_container(memory=EQUAL))).floor_milli == 110
    assert contract(a_pod(a_container(memory=("32Mi", "64Mi")))).floor_milli == 100
    above = a_pod(a_container(memory=EQUAL), annotations={"mbcas.io/min-cpu": "150m"})
    assert contract(above).floor_milli == 150


def test_the_owners_values_are_those_of_the_allocation_once_there_is_one():
    moved = a_pod(a_container(limit="800m"))
    found = contract(moved, original=(cpu("app", 200, 100),))
    assert (found.owner_limit_milli, found.floor_milli) == (200, 100)


def test_while_requests_are_kept_the_floor_is_the_request_that_stands_there_now():
    moved = a_pod(a_container(request="300m", limit="800m"))
    assert contract(moved, original=(cpu("app", 200, 100),)).floor_milli == 300
    assert contract(moved, original=(cpu("app", 200, 100),), policy=RequestPolicy.SHARE).floor_milli == 100


def test_a_guaranteed_pods_request_moves_with_its_limit_so_its_floor_is_the_baseline():
    assert contract(a_pod(a_container(request="500m", limit="500m"), qos="Guaranteed")).floor_milli == 100
    assert contract(a_pod(a_container(request="50m", limit="50m"), qos="Guaranteed")).floor_milli == 50


def test_limit_ranges_bound_the_cap():
    bounds = NO_BOUNDS._replace(container_max_milli=700.0, container_ratio=6.0, container_min_milli=120.0)
    found = contract(bounds=bounds)
    assert (found.floor_milli, found.cap_milli) == (120, 600)


def test_a_pods_maximum_is_divided_by_the_owners_values_however_limits_stand_now():
    pod = a_pod(a_container("app", limit="900m"), a_container("proxy", limit="100m"))
    original = (cpu("app", 300, 100), cpu("proxy", 100, 50))
    bounds = NO_BOUNDS._replace(pod_max_milli=2000.0)
    caps = [contract(pod, container=i, original=original, bounds=bounds).cap_milli for i in (0, 1)]
    assert caps == [1500, 500]


def test_the_limit_of_the_pod_as_a_whole_is_a_cap():
    assert contract(a_pod(resources={"limits": {"cpu": "600m"}})).cap_milli == 600


def test_a_namespace_with_a_share_bargains_as_one():
    found = contract(namespace=a_namespace(annotations={"mbcas.io/weight": "2.5"}))
    assert (found.group, found.group_weight) == ("shop", 2.5)
    assert contract(namespace=a_namespace()).group is None


def test_a_share_that_cannot_be_one_is_told_with_the_namespaces_name():
    found = terms(namespace=a_namespace(annotations={"mbcas.io/weight": "all"}))
    assert found.contract.group is None
    assert found.complaints[0].startswith("namespace shop: ")


def test_a_container_without_limit_still_has_terms_to_be_shown():
    found = contract(a_pod(a_container(request=None, limit=None), qos="BestEffort"))
    assert (found.owner_limit_milli, found.floor_milli, found.cap_milli) == (None, 10, 4000)


def test_the_pods_target_latency_wins_over_a_rules_objective():
    rules = (WorkloadRule(match="shop/*", slo_p99_s=0.5),)
    assert contract().slo_p99_s is None
    assert contract(rules=rules).slo_p99_s == 0.5
    assert contract(a_pod(annotations={"mbcas.io/target-latency-ms": "80"}), rules=rules).slo_p99_s == 0.08


@pytest.mark.parametrize("text", ["fast", "0", "-1", "nan", "1e9", "80ms"])
def test_a_target_latency_that_cannot_be_one_is_ignored_and_told(text):
    found = terms(
        a_pod(annotations={"mbcas.io/target-latency-ms": text}), rules=(WorkloadRule(match="*", slo_p99_s=2),)
    )
    assert found.contract.slo_p99_s == 2
    assert "mbcas.io/target-latency-ms is ignored" in found.complaints[0]
