"""What a pod's containers may have next on the way to what was decided: bounded, in steps, cooled down.

The agent plans within the same bounds; here they hold whatever stands in a PodAllocation, also one that somebody
wrote by hand.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from mbcasd.kube.allocating.limitranges import CpuBounds
from mbcasd.kube.controlling.fitness import GUARANTEED
from mbcasd.kube.controlling.fitting import Wish, fit
from mbcasd.kube.controlling.pods import ContainerNow, ResizablePod, qos_class
from mbcasd.kube.objects import ContainerCpu
from mbcasd.settings import ResizeSettings

# The kernel's quotas and systemd's rounding are in steps of this.
QUANTUM_MILLI = 10


class Next(NamedTuple):
    """What to ask for now."""

    values: tuple[ContainerCpu, ...]  # every container of the decision; a request only where it is to be set
    held: str = ""  # what keeps the final values from those decided, in a sentence; empty: nothing
    is_step: bool = False  # more is to follow after this one
    is_cooling: bool = False  # a decrease waits for the cooldown


def next_values(
    pod: ResizablePod,
    containers: Mapping[str, ContainerNow],
    wanted: tuple[ContainerCpu, ...],
    bounds: CpuBounds,
    settings: ResizeSettings,
    *,
    cooling: bool,
) -> Next:
    """Work out the next resize.

    Args:
        pod: As it is, for its QoS class.
        containers: Its containers; each of `wanted` is among them and has a limit.
        wanted: What was decided; a request of None is left as it is.
        bounds: The namespace's LimitRanges.
        settings: Minimum, step factor.
        cooling: The last resize was confirmed so short a time ago that nothing is lowered yet.
    """
    guaranteed = pod.status.qos_class == GUARANTEED
    wishes = {
        cpu.name: Wish(
            limit_milli=max(cpu.limit_milli, math.ceil(settings.minimum_milli)),
            request_milli=containers[cpu.name].request_milli if cpu.request_milli is None else cpu.request_milli,
            now_milli=containers[cpu.name].limit_milli or 0,
        )
        for cpu in wanted
    }
    others = [container for container in containers.values() if container.name not in wishes]
    fitted = fit(
        wishes,
        (sum(one.limit_milli or 0 for one in others), sum(one.request_milli or 0 for one in others)),
        bounds,
    )
    held = list(fitted.held)
    limits: dict[str, int] = {}
    requests: dict[str, int | None] = {}
    is_step = is_cooling = False
    for cpu in wanted:
        now = containers[cpu.name]
        limit_milli = fitted.limits_milli[cpu.name]
        if cpu.request_milli is None and now.request_milli is not None and limit_milli < now.request_milli:
            limit_milli = now.request_milli
            held.append(f"{cpu.name} gets {limit_milli}m: its request is that much")
        stepped_milli = _one_step(now.limit_milli or 0, limit_milli, settings.max_step_factor)
        is_step = is_step or stepped_milli != limit_milli
        if cooling and stepped_milli < (now.limit_milli or 0):
            stepped_milli, is_cooling = now.limit_milli or 0, True
        limits[cpu.name] = stepped_milli
        requests[cpu.name] = _request(cpu, stepped_milli, guaranteed=guaranteed)
    if pod.status.qos_class != GUARANTEED:
        _stay_burstable(pod, containers, limits, requests, held)
    return Next(
        values=tuple(ContainerCpu(name=n, limit_milli=limits[n], request_milli=requests[n]) for n in limits),
        held="; ".join(held),
        is_step=is_step,
        is_cooling=is_cooling,
    )


def _one_step(now_milli: int, to_milli: int, factor: float) -> int:
    """As far towards `to_milli` as one resize goes, on the quantum, and by at least one quantum."""
    if to_milli > now_milli:
        most_milli = math.floor(now_milli * factor / QUANTUM_MILLI) * QUANTUM_MILLI
        return min(to_milli, max(most_milli, now_milli + QUANTUM_MILLI))
    least_milli = math.ceil(now_milli / factor / QUANTUM_MILLI) * QUANTUM_MILLI
    return max(to_milli, min(least_milli, now_milli - QUANTUM_MILLI))


def _request(cpu: ContainerCpu, limit_milli: int, *, guaranteed: bool) -> int | None:
    """The request that goes with a limit; None: it is not touched."""
    if cpu.request_milli is None:
        return None
    return limit_milli if guaranteed else min(cpu.request_milli, limit_milli)


def _stay_burstable(
    pod: ResizablePod,
    containers: Mapping[str, ContainerNow],
    limits: dict[str, int],
    requests: dict[str, int | None],
    held: list[str],
) -> None:
    """Keep one container's request below its limit where the pod would become Guaranteed otherwise."""
    changed = {
        name: (limit, containers[name].request_milli if requests[name] is None else requests[name])
        for name, limit in limits.items()
    }
    if qos_class(pod, changed) != GUARANTEED:
        return
    name = max(limits, key=lambda one: limits[one])
    request_milli = requests[name]
    if request_milli is not None and limits[name] > QUANTUM_MILLI:
        requests[name] = limits[name] - QUANTUM_MILLI
        held.append(f"the request of {name} gets {requests[name]}m: with its limit's value the pod would be Guaranteed")
    else:
        limits[name] += QUANTUM_MILLI
        held.append(f"{name} gets {limits[name]}m: with its request's value the pod would be Guaranteed")
