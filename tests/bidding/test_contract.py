"""What the owner asked for, merged with the node's rules."""

from mbcasd.bidding.bids import bid_of
from mbcasd.bidding.contract import host_contract, matches
from mbcasd.model.demand import Contract, WorkloadClass
from mbcasd.model.identity import WorkloadId
from mbcasd.settings import MarketSettings, WorkloadRule

WEB = WorkloadId("machine.slice", "web")


def the_contract(owner_milli: float | None = None, *rules: WorkloadRule) -> Contract:
    return host_contract(WEB, owner_milli, 4000.0, rules, MarketSettings(), 10.0)


def test_without_rules_the_floor_is_the_baseline_and_the_cap_the_node() -> None:
    assert the_contract(1000) == Contract(floor_milli=100, cap_milli=4000, owner_limit_milli=1000)


def test_a_quota_below_the_baseline_is_the_floor() -> None:
    assert the_contract(50).floor_milli == 50


def test_no_floor_is_below_the_smallest_limit() -> None:
    assert the_contract(1).floor_milli == 10


def test_the_first_rule_that_matches_decides() -> None:
    contract = the_contract(
        None,
        WorkloadRule(match="db*", weight=9),
        WorkloadRule(match="w*", floor_milli=300, cap_milli=800, weight=3, workload_class=WorkloadClass.BATCH),
        WorkloadRule(match="*", weight=7),
    )

    assert (contract.floor_milli, contract.cap_milli, contract.weight) == (300, 800, 3)
    assert contract.workload_class is WorkloadClass.BATCH


def test_a_rule_may_name_the_namespace() -> None:
    assert matches(WorkloadRule(match="machine.slice/w*"), WEB)
    assert matches(WorkloadRule(match="web"), WEB)
    assert not matches(WorkloadRule(match="other/*"), WEB)


def test_a_cap_below_the_baseline_bounds_the_floor_too() -> None:
    assert the_contract(None, WorkloadRule(match="*", cap_milli=40)).floor_milli == 40


def test_a_bid_asks_for_the_need_within_the_contract() -> None:
    contract = Contract(floor_milli=100, cap_milli=800)

    assert bid_of("web", contract, 500, lower_milli=250, upper_milli=1000).cap_milli == 500
    assert bid_of("web", contract, 5000, lower_milli=250, upper_milli=1000).cap_milli == 800
    # Less than the floor asks for the floor, and a held limit holds the cap of the bid as well.
    assert bid_of("web", contract, 20, lower_milli=50, upper_milli=1000).cap_milli == 100
    assert bid_of("web", contract, 20, lower_milli=250, upper_milli=1000).cap_milli == 250
