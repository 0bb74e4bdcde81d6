from mbcasd.kube.allocating.shares import Sharer, shares_of
from mbcasd.model.demand import Contract, WorkloadClass


def a_sharer(uid="a", *, floor=100, limit=4000, weight=1.0, workload_class=WorkloadClass.STANDARD):
    contract = Contract(floor_milli=floor, cap_milli=4000, weight=weight, workload_class=workload_class)
    return Sharer(uid, "app", contract, limit)


def share(*sharers, capacity=1000.0, before=None):
    found = shares_of(sharers, before or {}, capacity, 10.0)
    return {uid: containers["app"] for uid, containers in found.items()}


def test_what_the_node_has_is_shared_by_weight():
    # 1000 − 2 × 100 = 800 of surplus, three quarters of it for the heavier one.
    assert share(a_sharer("a"), a_sharer("b", weight=3)) == {"a": 300, "b": 700}


def test_work_that_can_wait_counts_a_fifth():
    shares = share(a_sharer("a"), a_sharer("b", workload_class=WorkloadClass.BATCH), capacity=1400)
    # 1200 of surplus, five sixths of it for the one that cannot wait.
    assert shares == {"a": 1100, "b": 300}


def test_a_request_is_never_above_the_limit_and_the_others_get_the_rest():
    assert share(a_sharer("a", limit=200), a_sharer("b")) == {"a": 200, "b": 800}


def test_what_owners_were_promised_is_kept_also_on_a_full_node():
    assert share(a_sharer("a", floor=300), a_sharer("b", floor=200), capacity=100) == {"a": 300, "b": 200}


def test_a_small_change_is_none():
    before = {"a": {"app": 490}, "b": {"app": 500}}
    assert share(a_sharer("a"), a_sharer("b"), before=before) == {"a": 490, "b": 500}
    far = {"a": {"app": 300}, "b": {"app": 500}}
    assert share(a_sharer("a"), a_sharer("b"), before=far) == {"a": 500, "b": 500}


def test_what_stays_must_still_fit():
    before = {"a": {"app": 540}, "b": {"app": 540}}
    assert share(a_sharer("a"), a_sharer("b"), before=before) == {"a": 500, "b": 500}


def test_without_anybody_there_is_nothing_to_share():
    assert shares_of((), {}, 1000.0, 10.0) == {}
