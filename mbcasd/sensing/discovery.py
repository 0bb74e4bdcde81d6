"""The cgroups of systemd's units and of a kubelet's containers."""

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase

from mbcasd.errors import CgroupGone, ConfigError
from mbcasd.model.identity import CgroupRef
from mbcasd.sensing import layout
from mbcasd.sensing.tree import CgroupTree

# Units that have a cgroup. Only slices have other units below them: what is below a service or a scope is its own.
_UNIT_TYPES = (".service", ".scope", ".slice", ".socket", ".mount", ".swap")

# kind, minikube and --cgroup-root nest the kubelet's tree, but not deeper than this.
_DEEPEST_KUBEPODS = 4


def units(tree: CgroupTree, globs: Iterable[str]) -> dict[str, CgroupRef]:
    """Find the cgroups of systemd units by name.

    Units are looked for where systemd keeps them all, and taken where the cpu controller has them too: on v1 systemd
    makes that cgroup only for a unit with CPUAccounting=yes, a weight or a quota.

    Args:
        tree: Where to look.
        globs: Names such as `web-*.service` or `batch.slice`; without a type `.service` is meant, as systemctl does.

    Returns:
        By unit name; units that exist, but not for the cpu controller, are left out.

    Raises:
        ConfigError: No systemd keeps units here.
    """
    root = tree.systemd_mount
    wanted = [glob if glob.endswith(_UNIT_TYPES) else f"{glob}.service" for glob in globs]
    found: dict[str, CgroupRef] = {}
    if root is None or not os.path.isdir(f"{root}/system.slice"):
        raise ConfigError("systemd keeps no units here, so --unit finds none; name cgroups: --parent /machine.slice")
    slices = [""]
    while slices:
        parent = slices.pop()
        for name in _directories(f"{root}{parent}"):
            if not name.endswith(_UNIT_TYPES):
                continue
            path = f"{parent}/{name}"
            # Names that would clash with a kernel file get an underscore in front.
            unit = name.removeprefix("_")
            if any(fnmatchcase(unit, glob) for glob in wanted):
                try:
                    found[unit] = tree.ref(path)
                except CgroupGone:
                    continue
            if name.endswith(".slice"):
                slices.append(path)
    return found


def kubepods(tree: CgroupTree) -> tuple[str, ...]:
    """Find the roots of kubelets' trees, usually none or one, at most four levels deep."""
    roots = []
    level = [""]
    for _ in range(_DEEPEST_KUBEPODS):
        deeper = []
        for parent in level:
            for name in _directories(tree.directory(parent or "/")):
                path = f"{parent}/{name}"
                if layout.is_kubepods(name):
                    roots.append(path)
                else:
                    deeper.append(path)
        level = deeper
    return tuple(sorted(roots))


def containers(tree: CgroupTree, root: str) -> dict[layout.Place, CgroupRef]:
    """List the containers below a kubelet's root, also those of pods that are ending; pods that vanish are skipped."""
    found: dict[layout.Place, CgroupRef] = {}
    parents = [root]
    # Pods are below the root or a class, containers below pods.
    for _ in range(3):
        deeper = []
        for parent in parents:
            try:
                children = tree.children(parent)
            except CgroupGone:
                continue
            for ref in children.values():
                place = layout.locate(ref.path)
                if place is not None and place.container_id is not None:
                    found[place] = ref
                elif place is not None or layout.is_qos_class(ref.path):
                    deeper.append(ref.path)
        parents = deeper
    return found


def _directories(path: str) -> list[str]:
    """Names of the cgroups below one; none where it vanished or may not be listed."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
