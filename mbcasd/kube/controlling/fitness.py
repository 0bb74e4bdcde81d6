"""Whether what was decided can be done to this pod at all: looked at again here, whatever the agent saw. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from mbcasd.kube.controlling.pods import ContainerNow, ResizablePod
from mbcasd.kube.controlling.verdict import Reason
from mbcasd.kube.objects import ContainerCpu
from mbcasd.settings import ResizeSettings

GUARANTEED = "Guaranteed"


class Unfit(NamedTuple):
    """Why not."""

    reason: Reason
    message: str


def unfit(
    pod: ResizablePod,
    containers: Mapping[str, ContainerNow],
    wanted: tuple[ContainerCpu, ...],
    settings: ResizeSettings,
) -> Unfit | None:
    """Say why a decision cannot be carried out; None: it can."""
    for cpu in wanted:
        now = containers.get(cpu.name)
        if now is None:
            return Unfit(Reason.NO_CONTAINER, f"the pod has no container {cpu.name} that can be resized")
        if differs(cpu, now) and (reason := _forbids(pod, cpu, now, settings)):
            return reason
    return None


def _forbids(pod: ResizablePod, cpu: ContainerCpu, now: ContainerNow, settings: ResizeSettings) -> Unfit | None:
    """Why this one container cannot be changed."""
    if now.limit_milli is None:
        return Unfit(
            Reason.NO_LIMIT, f"{cpu.name} has no CPU limit, and one that is added can never be taken away again"
        )
    if now.restarts_on_resize:
        return Unfit(Reason.WOULD_RESTART, f"a changed CPU limit restarts {cpu.name}: its resizePolicy says so")
    if pod.status.qos_class != GUARANTEED:
        return None
    if _leaves_guaranteed_alone(pod, settings):
        return Unfit(Reason.GUARANTEED, "the pod is Guaranteed, and those are left alone (resize.skip_guaranteed)")
    if cpu.request_milli is None:
        return Unfit(Reason.GUARANTEED, f"the pod is Guaranteed, and no request was decided for {cpu.name}")
    return None


def _leaves_guaranteed_alone(pod: ResizablePod, settings: ResizeSettings) -> bool:
    """The pod's own word counts more than the setting."""
    wish = pod.metadata.annotations.skip_guaranteed
    return settings.skip_guaranteed if wish is None else wish != "false"


def differs(cpu: ContainerCpu, now: ContainerNow) -> bool:
    """Whether a container has other values than these; a request of None is not looked at."""
    return cpu.limit_milli != now.limit_milli or (
        cpu.request_milli is not None and cpu.request_milli != now.request_milli
    )


def takes_only(cpu: ContainerCpu, now: ContainerNow) -> bool:
    """Whether these values ask for no more than there is: nothing that is short can refuse them."""
    return cpu.limit_milli <= (now.limit_milli or 0) and (cpu.request_milli or 0) <= (now.request_milli or 0)
