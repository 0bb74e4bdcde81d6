"""What the LimitRanges of a namespace leave of a wish, so that the API server has no reason to refuse it. Pure."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from mbcasd.kube.allocating.limitranges import CpuBounds


class Wish(NamedTuple):
    """What a container is to have, in millicores."""

    limit_milli: int
    request_milli: int | None  # what its request will be; None: it has none
    now_milli: int  # its limit now


class Fitted(NamedTuple):
    """What is left of the wishes, and why it is not all of them."""

    limits_milli: Mapping[str, int]
    held: tuple[str, ...] = ()  # one sentence each for people


class _Most(NamedTuple):
    milli: float
    why: str


def fit(wishes: Mapping[str, Wish], others_milli: tuple[int, int], bounds: CpuBounds) -> Fitted:
    """Cut limits down to what LimitRanges allow, or up to their minimum.

    A bound of the whole pod takes from those that would be raised, in proportion; what a container has already is
    not taken away for it: that would be another decision than the one that is carried out here.

    Args:
        wishes: By container.
        others_milli: Sums of the limits and of the requests of the pod's other containers.
        bounds: All LimitRanges of the namespace together.
    """
    limits = {name: wish.limit_milli for name, wish in wishes.items()}
    held: list[str] = []
    for name, wish in wishes.items():
        for most in _container_bounds(bounds, wish.request_milli):
            if limits[name] > most.milli:
                limits[name] = math.floor(most.milli)
                held.append(f"{name} gets {limits[name]}m: {most.why}")
        if limits[name] < bounds.container_min_milli:
            limits[name] = math.ceil(bounds.container_min_milli)
            held.append(f"{name} gets {limits[name]}m: a LimitRange asks for at least that per container")
    requests_milli = others_milli[1] + sum(wish.request_milli or 0 for wish in wishes.values())
    for most in _pod_bounds(bounds, requests_milli):
        held += _shrink(limits, wishes, others_milli[0], most)
    return Fitted(limits, tuple(held))


def _container_bounds(bounds: CpuBounds, request_milli: int | None) -> tuple[_Most, ...]:
    most = _Most(bounds.container_max_milli, "a LimitRange allows no more per container")
    if not request_milli:
        return (most,)
    times = bounds.container_ratio
    return most, _Most(times * request_milli, f"a LimitRange allows {times:g} times its request of {request_milli}m")


def _pod_bounds(bounds: CpuBounds, requests_milli: int) -> tuple[_Most, ...]:
    most = _Most(bounds.pod_max_milli, f"a LimitRange allows {bounds.pod_max_milli:.0f}m for the whole pod")
    if not requests_milli:
        return (most,)
    times = bounds.pod_ratio
    return most, _Most(times * requests_milli, f"a LimitRange allows the pod {times:g} times its requests")


def _shrink(limits: dict[str, int], wishes: Mapping[str, Wish], others_milli: int, most: _Most) -> list[str]:
    """Take from the raises what the pod as a whole may not have."""
    excess_milli = others_milli + sum(limits.values()) - most.milli
    raises = {name: limits[name] - wish.now_milli for name, wish in wishes.items() if limits[name] > wish.now_milli}
    if excess_milli <= 0 or not raises:
        return []
    part = min(1.0, excess_milli / sum(raises.values()))
    for name, raise_milli in raises.items():
        limits[name] -= math.ceil(raise_milli * part)
    return [f"{name} gets {limits[name]}m: {most.why}" for name in raises]
