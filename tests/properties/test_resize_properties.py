"""Whatever is decided, in whatever order things happen: what the controller never does, and where it ends."""

import copy
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rigs.resizing import RULES, World, a_container, a_pod_json, an_allocation, cpu

from mbcasd.kube.allocating.limitranges import CpuBounds
from mbcasd.kube.controlling.outcomes import Outcome
from mbcasd.kube.controlling.verdict import Action, Memory
from mbcasd.settings import ResizeSettings

FACTOR = 2.0

limits = st.integers(1, 200).map(lambda tens: tens * 10)
memories = st.sampled_from([("64Mi", "128Mi"), ("64Mi", "64Mi")])


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A Burstable pod with one or two containers, and a first decision about it."""
    names = draw(st.sampled_from([("app",), ("app", "other")]))
    memory = draw(memories)
    containers, original, wanted = [], [], []
    for name in names:
        limit = draw(limits) + 10
        request = draw(st.integers(1, limit - 1))
        resources = {
            "limits": {"cpu": f"{limit}m", "memory": memory[1]},
            "requests": {"cpu": f"{request}m", "memory": memory[0]},
        }
        containers.append(a_container(name, resources=resources))
        original.append(cpu(limit, request, name))
        wanted.append(a_wish(draw, name))
    bounds = draw(st.sampled_from([CpuBounds(), CpuBounds(container_max_milli=700), CpuBounds(pod_max_milli=900)]))
    return World(
        pod=a_pod_json(*containers), allocation=an_allocation(*wanted, original=tuple(original)), bounds=bounds
    )


def a_wish(draw: st.DrawFn, name: str):
    limit = draw(limits)
    return cpu(limit, draw(st.none() | st.integers(0, limit)), name)


@st.composite
def lives(draw: st.DrawFn):
    """A world, and what happens in it."""
    world = draw(worlds())
    assert world.allocation is not None
    names = [one.name for one in world.allocation.spec.original]
    happenings = []
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=25)):
        if kind == "decide":
            happenings.append((kind, [a_wish(draw, name) for name in names]))
        elif kind == "pass":
            happenings.append((kind, draw(st.sampled_from([0.01, 0.4, 3.0, 6.0, 100.0]))))
        elif kind == "refuse":
            happenings.append((kind, draw(st.sampled_from([None, *REFUSALS]))))
        else:
            happenings.append((kind, None))
    return world, happenings


KINDS = ("look", "decide", "pass", "kubelet", "defer", "refuse", "new leader", "look")
REFUSALS = (Outcome.QUOTA, Outcome.CONFLICT, Outcome.RETRY, Outcome.FORBIDDEN)


def live(world: World, happenings) -> None:
    """Let it all happen; each patch is judged by `World.set` as an API server would, and by `check`."""
    for kind, what in happenings:
        if kind == "decide":
            world.decide(*what)
        elif kind == "pass":
            world.now_s += what
        elif kind == "kubelet":
            world.kubelet()
        elif kind == "defer":
            world.kubelet({"type": "PodResizePending", "reason": "Deferred"})
        elif kind == "refuse":
            world.refuses = what
        elif kind == "new leader":
            world.memory = Memory()
        else:
            check(world)


def check(world: World) -> None:
    """One look keeps every promise."""
    before = {one["name"]: one["resources"] for one in world.pod["spec"]["containers"]}
    deciding = world.allocation.spec
    count = len(world.patches)
    world.look()
    for patch in world.patches[count:]:
        for container in patch["spec"]["containers"]:
            was = int(before[container["name"]]["limits"]["cpu"][:-1])
            to = int(container["resources"]["limits"]["cpu"][:-1])
            assert to >= 10
            assert set(container["resources"]["limits"]) == {"cpu"}
            if not deciding.released:
                # One step, on the quantum, by at least one quantum; equality with the request may cost one more.
                assert was / FACTOR - 10 <= to <= max(was * FACTOR, was + 10) + 10


@given(lives())
def test_no_step_is_too_large_no_limit_too_small_and_nothing_is_asked_that_a_server_would_refuse(life) -> None:
    world, happenings = life

    live(world, happenings)


@given(lives())
def test_after_whatever_happened_a_pod_gets_what_was_decided_or_as_much_as_it_may_have(life) -> None:
    world, happenings = life
    live(world, happenings)
    world.refuses = None
    world.kubelet()

    world.settle(within_s=10_000)

    assert world.status.phase == "Applied"
    assert world.status.observed_generation == world.allocation.metadata.generation
    if world.status.reason == "Resized":
        held = {one.name: one for one in world.status.containers}
        for wish in world.allocation.spec.containers:
            assert held[wish.name].limit_milli == wish.limit_milli


@given(lives())
def test_after_whatever_happened_a_released_pod_has_exactly_what_its_owner_had_set(life) -> None:
    world, happenings = life
    first = copy.deepcopy(world.pod["spec"]["containers"])
    live(world, happenings)
    world.refuses = None
    world.kubelet()
    world.decide(released=True)

    world.settle(within_s=10_000)

    assert world.allocation is None
    assert world.pod["spec"]["containers"] == first


@given(worlds(), st.permutations(["memory lost", "kubelet", "decision again", "time"]), st.integers(1, 3))
def test_the_order_and_the_number_of_events_do_not_matter(world: World, events, repeats: int) -> None:
    other = World(pod=world.pod, allocation=world.allocation, bounds=world.bounds)
    other.settle(within_s=10_000)

    for event in events * repeats:
        if event == "memory lost":
            world.memory = Memory()
        elif event == "kubelet":
            world.kubelet()
        elif event == "decision again":
            world.decide()
        else:
            world.now_s += 10
        world.look()
    world.settle(within_s=10_000)

    assert world.pod["spec"]["containers"] == other.pod["spec"]["containers"]
    assert (world.status.phase, world.status.reason) == (other.status.phase, other.status.reason)
    assert world.status.containers == other.status.containers


@given(lives())
def test_a_controller_that_observes_never_patches(life) -> None:
    world, happenings = life
    world.rules = replace(RULES, is_enforcing=False)

    live(world, happenings)

    assert world.patches == []
    assert world.statuses_written == 0


@given(worlds(), st.floats(1.05, 4.0))
def test_every_step_factor_ends_at_the_same_values(world: World, factor: float) -> None:
    other = World(pod=world.pod, allocation=world.allocation, bounds=world.bounds)
    other.settle(within_s=10_000)
    world.rules = replace(RULES, resize=ResizeSettings(max_step_factor=factor))

    world.settle(within_s=100_000)

    assert world.pod["spec"]["containers"] == other.pod["spec"]["containers"]
    assert world.look().action is Action.NOTHING
