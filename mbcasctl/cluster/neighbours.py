"""Who else has a say in the CPU of managed pods: autoscalers, LimitRanges, quotas; pure."""

from collections.abc import Iterable, Sequence

from mbcasctl.cluster.facts import ClusterFacts
from mbcasctl.cluster.objects import Generic
from mbcasctl.doctor.facts import Finding, Level
from mbcasd.kube.objects import PodAllocation
from mbcasd.units import MILLI_PER_CPU, parse_quantity

_MOST_NAMED = 3

# A quota with less room than this stops limits from growing soon.
_ROOM_RATIO = 0.05

# Modes of a VPA in which it leaves running pods alone.
_HARMLESS_VPA = {"Off", "Initial"}


def vertical_autoscalers(facts: ClusterFacts) -> list[Finding]:
    """Does a VPA move the same values?"""
    return [
        Finding(
            check="vpa",
            level=Level.WARNING,
            message=f"VPA {vpa.metadata.name} (mode {_vpa_mode(vpa)}) also resizes {_target(vpa)}",
            remedy="set it to Off or Initial, or MBCAS leaves it alone",
        )
        for vpa in facts.autoscalers
        if _vpa_mode(vpa) not in _HARMLESS_VPA and _vpa_controls_cpu(vpa)
    ]


def horizontal_autoscalers(facts: ClusterFacts) -> list[Finding]:
    """Would a changed request move an HPA?"""
    found = []
    for hpa in facts.scalers:
        if not _hpa_on_cpu(hpa):
            continue
        moved = [one for one in facts.allocations if _is_target(one, hpa) and _moves_requests(one)]
        if moved:
            found.append(
                Finding(
                    check="hpa",
                    level=Level.PROBLEM,
                    message=f"HPA {hpa.metadata.namespace}/{hpa.metadata.name} scales by CPU utilisation, and MBCAS "
                    f"moves requests of its pods: {listed([one.spec.pod_name for one in moved])}",
                    remedy="set resize.request_policy = keep",
                )
            )
    calm = sum(map(_hpa_on_cpu, facts.scalers)) - len(found)
    if calm > 0:
        message = f"{calm} HPA{'' if calm == 1 else 's'} by CPU utilisation: requests of their pods are not changed"
        found.insert(0, Finding(check="hpa", level=Level.OK, message=message))
    return found


def limit_ranges(facts: ClusterFacts) -> list[Finding]:
    """Is there a bound that an owner may not know of?"""
    found = []
    for thing in facts.limit_ranges:
        words = ", ".join(_bounds(thing))
        if words:
            where = f"{thing.metadata.namespace}/{thing.metadata.name}"
            message = f"LimitRange {where} bounds what MBCAS may give: {words}"
            found.append(Finding(check="limitrange", level=Level.OK, message=message))
    return found


def quotas(facts: ClusterFacts) -> list[Finding]:
    """Does a quota stop limits from growing?"""
    found = []
    for quota in facts.quotas:
        hard, used = quota.status.get("hard") or {}, quota.status.get("used") or {}
        for resource in ("limits.cpu", "requests.cpu", "cpu"):
            most, now = _milli(hard.get(resource)), _milli(used.get(resource))
            if most is None or now is None or (resource != "limits.cpu" and not _requests_move(facts)):
                continue
            if most - now <= _ROOM_RATIO * most:
                found.append(
                    Finding(
                        check="quota",
                        level=Level.WARNING,
                        message=f"quota {quota.metadata.namespace}/{quota.metadata.name} has {most - now:g}m of "
                        f"{resource} left: pods there cannot get more",
                        remedy=f"raise it, or leave {resource} out of it",
                    )
                )
    return found


def listed(things: Sequence[str]) -> str:
    """The first of them, for one sentence."""
    more = f" and {len(things) - _MOST_NAMED} more" if len(things) > _MOST_NAMED else ""
    return ", ".join(things[:_MOST_NAMED]) + more


def _vpa_mode(vpa: Generic) -> str:
    return str((vpa.spec.get("updatePolicy") or {}).get("updateMode") or "Auto")


def _vpa_controls_cpu(vpa: Generic) -> bool:
    policies = (vpa.spec.get("resourcePolicy") or {}).get("containerPolicies") or ()
    return not policies or any(
        policy.get("mode") != "Off" and "cpu" in (policy.get("controlledResources") or ("cpu",)) for policy in policies
    )


def _target(scaler: Generic) -> str:
    target = scaler.spec.get("targetRef") or scaler.spec.get("scaleTargetRef") or {}
    return f"{scaler.metadata.namespace}/{target.get('name', '?')}"


def _hpa_on_cpu(hpa: Generic) -> bool:
    """Whether it compares use with requests: with other metrics a request means nothing to it."""
    for metric in hpa.spec.get("metrics") or ():
        source = metric.get("resource") or metric.get("containerResource") or {}
        if source.get("name") == "cpu" and (source.get("target") or {}).get("type") == "Utilization":
            return True
    return False


def _is_target(one: PodAllocation, hpa: Generic) -> bool:
    name = (hpa.spec.get("scaleTargetRef") or {}).get("name", "")
    return one.metadata.namespace == hpa.metadata.namespace and one.spec.pod_name.startswith(f"{name}-")


def _moves_requests(one: PodAllocation) -> bool:
    had = {given.name: given.request_milli for given in one.spec.original}
    return any(
        given.request_milli is not None and given.request_milli != had.get(given.name) for given in one.spec.containers
    )


def _requests_move(facts: ClusterFacts) -> bool:
    return any(_moves_requests(one) for one in facts.allocations)


def _bounds(limit_range: Generic) -> Iterable[str]:
    for limit in limit_range.spec.get("limits") or ():
        kind = str(limit.get("type", "")).lower()
        for key, words in (("max", "at most {} of CPU"), ("maxLimitRequestRatio", "{} times the request")):
            cpu = (limit.get(key) or {}).get("cpu")
            if cpu is not None and kind in {"container", "pod"}:
                yield f"{words.format(cpu)} per {kind}"


def _milli(quantity: object) -> float | None:
    try:
        return parse_quantity(str(quantity)) * MILLI_PER_CPU if quantity is not None else None
    except ValueError:
        return None
