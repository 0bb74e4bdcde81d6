"""What the owner asked for, merged with the node's rules."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from mbcasd.model.demand import Contract
from mbcasd.model.identity import WorkloadId
from mbcasd.settings import MarketSettings, WorkloadRule


def matches(rule: WorkloadRule, workload: WorkloadId) -> bool:
    """Whether a rule's glob means this workload: by its own name, or with its namespace in front."""
    return fnmatchcase(workload.name, rule.match) or fnmatchcase(str(workload), rule.match)


def host_contract(
    workload: WorkloadId,
    owner_limit_milli: float | None,
    cpu_milli: float,
    rules: Iterable[WorkloadRule],
    market: MarketSettings,
    minimum_milli: float,
) -> Contract:
    """Say what a workload on a plain host is owed.

    The first rule that matches decides. What it leaves open: the floor is the smaller of the baseline and the
    owner's quota (a promise nobody made is not kept), the cap the node, the weight 1.

    Args:
        workload: Whose contract it is.
        owner_limit_milli: What the owner had set, in millicores; None: unlimited.
        cpu_milli: All CPU of the node: nobody can use more.
        rules: The `[[workload]]` entries in order.
        market: For the baseline.
        minimum_milli: No limit is ever below it, so no cap is either.

    Returns:
        A contract with minimum <= floor <= cap <= node.
    """
    rule = next((rule for rule in rules if matches(rule, workload)), WorkloadRule(match="*"))
    baseline_milli = market.baseline_cpu_per_pod_milli
    if owner_limit_milli is not None:
        baseline_milli = min(baseline_milli, owner_limit_milli)
    cap_milli = max(minimum_milli, min(cpu_milli, rule.cap_milli if rule.cap_milli is not None else cpu_milli))
    floor_milli = rule.floor_milli if rule.floor_milli is not None else baseline_milli
    return Contract(
        floor_milli=min(cap_milli, max(minimum_milli, floor_milli)),
        cap_milli=cap_milli,
        weight=rule.weight,
        workload_class=rule.workload_class,
        owner_limit_milli=owner_limit_milli,
        slo_p99_s=rule.slo_p99_s,
    )
