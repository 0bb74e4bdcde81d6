"""Uninstall: stop, put every limit back, delete everything, wait until it is gone."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mbcasctl.cluster import preflight
from mbcasctl.cluster.reach import Cluster
from mbcasctl.cluster.restoring import RestoreReport
from mbcasd.errors import ApiError, InstallError
from mbcasd.kube import names
from mbcasd.kube.install import Changed, Installer
from mbcasd.kube.listing import list_all
from mbcasd.kube.objects import Namespace

_POLL_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What became of it."""

    restored: RestoreReport
    removed: tuple[Changed, ...] = ()
    left: tuple[str, ...] = ()  # still there when the time was over
    dry_run: bool = False
    stopped_early: bool = False  # limits could not be put back, so that nothing was removed
    labelled: tuple[str, ...] = ()  # namespaces with the owner's own label, which stays

    @property
    def is_good(self) -> bool:
        """Whether nothing of MBCAS is left, or (in a dry run) nothing stands against it."""
        return not self.left and not self.stopped_early


def check(cluster: Cluster, installer: Installer) -> None:
    """Refuse before anything is changed where rights are missing.

    Raises:
        InstallError: They are.
    """
    wanted = [*preflight.rights_to_restore(None), *preflight.rights_to_remove(installer.kinds)]
    missing = preflight.missing(cluster, wanted)
    if missing:
        raise InstallError(
            f"the user of this kubeconfig may not: {preflight.listed(missing)}. Nothing was changed; use one with "
            "the rights of cluster-admin"
        )


def remove(installer: Installer, *, dry_run: bool, on_change: Callable[[Changed], None]) -> list[Changed]:
    """Delete all that carries MBCAS's label, and its PodAllocations with their definition.

    Raises:
        ApiAway, ApiRefused: Something was not removed; the message names it.
    """
    changes = []
    for place, thing in installer.labelled():
        changes.append(installer.remove(place, thing, dry_run=dry_run))
        on_change(changes[-1])
    return changes


def wait_until_gone(installer: Installer, within_s: float, on_look: Callable[[list[str]], None]) -> list[str]:
    """Look until nothing of MBCAS is left, or the time is over; returns what is left then."""
    ends_s = time.monotonic() + within_s
    while True:
        try:
            left = installer.left()
        except ApiError:
            if time.monotonic() > ends_s:
                raise
        else:
            on_look(left)
            if not left or time.monotonic() > ends_s:
                return left
        time.sleep(_POLL_S)


def labelled_namespaces(cluster: Cluster) -> tuple[str, ...]:
    """Namespaces that carry the owner's word for or against MBCAS."""
    found = list_all(cluster.api, "/api/v1/namespaces", Namespace, {"labelSelector": names.MANAGED_LABEL})
    return tuple(namespace.metadata.name for namespace in found)
