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

    What a bound of the whole pod leaves is shared by those that would be raised; what a container has already is
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
    """Share among the raises what the pod as a whole may have, in proportion to the wishes.

    A share does not depend on how far a container has come already, so that raises in steps end where one step would.
    """
    raised = {name for name, wish in wishes.items() if limits[name] > wish.now_milli}
    if not raised or others_milli + sum(limits.values()) <= most.milli:
        return []
    left_milli = math.floor(most.milli) - others_milli - sum(limits[name] for name in limits.keys() - raised)
    free = set(raised)
    while True:
        wanted_milli = sum(limits[name] for name in free)
        shares = {name: left_milli * limits[name] // wanted_milli for name in free}
        # What has more than its share keeps what it has, and the others share the rest.
        content = {name for name in free if shares[name] < wishes[name].now_milli}
        if not content:
            break
        left_milli -= sum(wishes[name].now_milli for name in content)
        free -= content
    for name in raised:
        limits[name] = shares[name] if name in free else wishes[name].now_milli
    return [f"{name} gets {limits[name]}m: {most.why}" for name in wishes if name in raised]
