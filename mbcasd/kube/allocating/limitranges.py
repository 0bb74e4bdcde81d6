"""What a namespace's LimitRanges allow a container's CPU limit to be: bounds, so that no resize is refused for them."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple

from msgspec import Struct, field

from mbcasd.kube.objects import Metadata
from mbcasd.units import MILLI_PER_CPU, parse_quantity


class _Item(Struct, frozen=True, kw_only=True, rename="camel"):
    type: str
    max: Mapping[str, str] = field(default_factory=dict)
    min: Mapping[str, str] = field(default_factory=dict)
    max_limit_request_ratio: Mapping[str, str] = field(default_factory=dict)


class _Spec(Struct, frozen=True, kw_only=True, rename="camel"):
    limits: tuple[_Item, ...] = ()


class LimitRange(Struct, frozen=True, kw_only=True, rename="camel"):
    """One LimitRange."""

    metadata: Metadata
    spec: _Spec = field(default_factory=_Spec)


class CpuBounds(NamedTuple):
    """All LimitRanges of one namespace together; millicores."""

    container_max_milli: float = inf
    container_min_milli: float = 0.0
    container_ratio: float = inf  # limit per request
    pod_max_milli: float = inf  # of all containers' limits together
    pod_ratio: float = inf

    def cap_milli(self, name: str, owned: Mapping[str, tuple[int, int]]) -> float:
        """The largest limit that a container may have, whatever the others of its pod do.

        What the pod may have in all is divided by what the owner had given to each, so that no sum of caps exceeds it.

        Args:
            name: The container.
            owned: Limit and request that the owner had set, of all containers of the pod, in millicores.
        """
        limit_milli, request_milli = owned[name]
        cap_milli = self.container_max_milli
        if self.container_ratio < inf:
            cap_milli = min(cap_milli, self.container_ratio * request_milli)
        pod_milli = self.pod_max_milli
        if self.pod_ratio < inf:
            pod_milli = min(pod_milli, self.pod_ratio * sum(request for _, request in owned.values()))
        if pod_milli < inf:
            cap_milli = min(cap_milli, pod_milli * limit_milli / (sum(limit for limit, _ in owned.values()) or 1))
        return cap_milli


NO_BOUNDS = CpuBounds()


def bounds_of(ranges: Iterable[LimitRange]) -> CpuBounds:
    """Merge the LimitRanges of one namespace: all of them count."""
    bounds = NO_BOUNDS
    for item in (item for one in ranges for item in one.spec.limits):
        most, least = _milli(item.max, inf), _milli(item.min, 0.0)
        ratio = _ratio(item.max_limit_request_ratio)
        if item.type == "Container":
            bounds = bounds._replace(
                container_max_milli=min(bounds.container_max_milli, most),
                container_min_milli=max(bounds.container_min_milli, least),
                container_ratio=min(bounds.container_ratio, ratio),
            )
        elif item.type == "Pod":
            bounds = bounds._replace(
                pod_max_milli=min(bounds.pod_max_milli, most), pod_ratio=min(bounds.pod_ratio, ratio)
            )
    return bounds


def _milli(quantities: Mapping[str, str], otherwise: float) -> float:
    text = quantities.get("cpu")
    return otherwise if text is None else parse_quantity(text) * MILLI_PER_CPU


def _ratio(quantities: Mapping[str, str]) -> float:
    text = quantities.get("cpu")
    return inf if text is None else parse_quantity(text)
