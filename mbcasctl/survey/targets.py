"""Which cgroups a person means, and how people call them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mbcasd.errors import CgroupGone, ConfigError
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.sensing import discovery, layout, podnames
from mbcasd.sensing.layout import Place
from mbcasd.sensing.podnames import ContainerName
from mbcasd.sensing.tree import CgroupTree

# Where the workloads of a host without Kubernetes usually are.
_USUAL_SLICES = ("/machine.slice", "/system.slice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One cgroup to look at."""

    name: WorkloadId
    ref: CgroupRef
    place: Place | None = None  # None: no container of a pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """All of them, as they are now."""

    roots: tuple[str, ...]
    found: tuple[Target, ...]


def find(
    tree: CgroupTree,
    cgroups: Sequence[str],
    *,
    pod: str | None = None,
    container: str | None = None,
    names: Mapping[str, ContainerName] | None = None,
) -> Targets:
    """List what is there now.

    Args:
        tree: Where to look.
        cgroups: Paths that `CgroupTree.resolve` takes; the children of each are meant, or itself if it has none.
            None at all: the containers of the kubelet, else what the usual slices hold, else the root's children.
        pod: Only containers of pods whose name, namespace/name or UID matches this glob or begins with it.
        container: Only containers, or cgroups, whose name or id matches this glob or begins with it.
        names: Of containers by id; None: read from the kubelet's logs.

    Raises:
        ConfigError: There is no such cgroup, or pods are asked for and there are none.
        SensingError: It may not be looked at.
    """
    roots = [tree.resolve(text, limits_children=False) for text in cgroups] or _usual_roots(tree)
    names = podnames.read() if names is None else names
    found = [target for root in roots for target in _below(tree, root, names)]
    found = _without_sandboxes(found)
    if pod is not None:
        if all(target.place is None for target in found):
            raise ConfigError(
                f"--pod {pod}: there are no pods below {', '.join(roots)}; --container matches any cgroup"
            )
        found = [target for target in found if target.place is not None and _matches(pod, _pod_words(target))]
    if container is not None:
        found = [target for target in found if _matches(container, _container_words(target))]
    # A root that lies below another one is looked at once.
    unique = {target.ref: target for target in reversed(found)}
    return Targets(roots=tuple(roots), found=tuple(reversed(unique.values())))


def _usual_roots(tree: CgroupTree) -> list[str]:
    kubelets = discovery.kubepods(tree)
    if kubelets:
        return list(kubelets)
    children = tree.children("/")
    slices = [path for path in _USUAL_SLICES if path[1:] in children and tree.children(path)]
    return slices or ["/"]


def _below(tree: CgroupTree, root: str, names: Mapping[str, ContainerName]) -> Iterable[Target]:
    if layout.is_kubepods(root.rpartition("/")[2]) or layout.is_qos_class(root):
        for place, ref in discovery.containers(tree, root).items():
            yield _target(ref, place, names)
        return
    children = tree.children(root)
    if not children and root != "/":
        try:
            yield _target(tree.ref(root), layout.locate(root), names)
        except CgroupGone:
            return
    for ref in children.values():
        yield _target(ref, layout.locate(ref.path), names)


def _target(ref: CgroupRef, place: Place | None, names: Mapping[str, ContainerName]) -> Target:
    if place is None or place.container_id is None or place.path != ref.path:
        parent, _, name = ref.path.rpartition("/")
        return Target(name=WorkloadId(parent.strip("/"), name), ref=ref)
    called = names.get(place.container_id)
    if called is None:
        return Target(name=WorkloadId("", place.pod_uid, place.container_id[:12]), ref=ref, place=place)
    return Target(name=WorkloadId(called.namespace, called.pod, called.container), ref=ref, place=place)


def _without_sandboxes(found: Sequence[Target]) -> list[Target]:
    """Leave out the containers that hold a pod's namespaces: where the others have names, they have none."""
    named = {target.place.pod_uid for target in found if target.place is not None and target.name.namespace}
    return [
        target for target in found if target.place is None or target.name.namespace or target.place.pod_uid not in named
    ]


def _pod_words(target: Target) -> tuple[str, ...]:
    uid = "" if target.place is None else target.place.pod_uid
    return target.name.name, f"{target.name.namespace}/{target.name.name}", uid


def _container_words(target: Target) -> tuple[str, ...]:
    if target.place is None:
        return (target.name.name,)
    return target.name.container, target.place.container_id or ""


def _matches(glob: str, words: Iterable[str]) -> bool:
    return any(word and (fnmatchcase(word, glob) or word.startswith(glob)) for word in words)
