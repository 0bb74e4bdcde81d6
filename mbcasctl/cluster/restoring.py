"""The owners' values come back, with nobody left who moves them: stop the controllers, then pod by pod."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mbcasctl.cluster.objects import Lease
from mbcasctl.cluster.reach import DEPLOYMENT_PATH, Cluster
from mbcasd.errors import ApiAway, ApiRefused, InstallError
from mbcasd.kube.api import PatchKind
from mbcasd.kube.install import FIELD_MANAGER
from mbcasd.kube.objects import PodAllocation
from mbcasd.kube.restore import RestoredPod, RestoreResult, put_back

# Pods are put back so many at a time: each waits for its kubelet.
_AT_ONCE = 16
_POLL_S = 0.2
_DEFAULT_LEASE_S = 15

# A pod's grace period (30 s) and some more; on a node that is away pods never go.
_STOPPED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What became of every pod that MBCAS knows."""

    pods: tuple[RestoredPod, ...] = ()
    stopped_replicas: int = 0  # how many controllers there were to be before; 0: there were none to stop
    installed: bool = True  # False: there are no PodAllocations on this cluster at all

    def count(self, result: RestoreResult) -> int:
        """How many ended so."""
        return sum(pod.result is result for pod in self.pods)

    @property
    def failed(self) -> tuple[RestoredPod, ...]:
        """Those that still have a value of MBCAS."""
        return tuple(pod for pod in self.pods if pod.result is RestoreResult.FAILED)


def stop_controllers(cluster: Cluster, *, force: bool = False, within_s: float = _STOPPED_WITHIN_S) -> int:
    """Scale the controllers to none, and wait until none can patch a pod any more.

    Args:
        cluster: Which.
        force: Also go on while somebody outside of the Deployment holds the lease.
        within_s: How long pods may take to end.

    Returns:
        How many there were to be before.

    Raises:
        InstallError: A controller does not end, or one that is no pod holds the lease.
        ApiAway, ApiRefused: The cluster does not do what it is asked.
    """
    controllers = cluster.controllers()
    replicas = 0 if controllers is None else controllers.spec.replicas
    if replicas:
        scale = {"spec": {"replicas": 0}}
        cluster.api.patch(f"{DEPLOYMENT_PATH}/scale", scale, PatchKind.MERGE, {"fieldManager": FIELD_MANAGER})
    _wait_for_pods(cluster, within_s)
    if not force:
        _wait_for_lease(cluster)
    return replicas


def _wait_for_pods(cluster: Cluster, within_s: float) -> None:
    ends_s = time.monotonic() + within_s
    while left := [worker for worker in cluster.workers() if worker.is_made_by("ReplicaSet")]:
        if time.monotonic() > ends_s:
            which = left[0]
            raise InstallError(
                f"the controller {which.metadata.name} on {which.spec.node_name or 'no node'} has not ended after "
                f"{within_s:g} s and might still move limits: delete it, then run this again"
            )
        time.sleep(_POLL_S)


def _wait_for_lease(cluster: Cluster) -> None:
    """Until the lease is given back or was not renewed for as long as it lasts: nobody leads any more."""
    seen = cluster.lease()
    unchanged_since_s = began_s = time.monotonic()
    while seen is not None and seen.spec.holder_identity:
        duration_s = seen.spec.lease_duration_seconds or _DEFAULT_LEASE_S
        if _is_long_over(seen, cluster.clock.wall_s(), duration_s):
            return
        if time.monotonic() - unchanged_since_s > duration_s:
            return
        if time.monotonic() - began_s > 3 * duration_s:
            raise InstallError(
                f"{seen.spec.holder_identity} still leads, although no controller runs in the cluster: stop it where "
                "it runs (a systemd unit?), or say --force"
            )
        time.sleep(_POLL_S)
        now = cluster.lease()
        if now is None or now.metadata.resource_version != seen.metadata.resource_version:
            unchanged_since_s = time.monotonic()
        seen = now


def _is_long_over(lease: Lease, wall_s: float, duration_s: float) -> bool:
    """Whether it ended so long ago that no difference of clocks matters."""
    from datetime import datetime

    try:
        renewed_s = datetime.fromisoformat(lease.spec.renew_time or "").timestamp()
    except ValueError:
        return False
    return wall_s - renewed_s > 20 * duration_s


def put_all_back(
    cluster: Cluster,
    allocations: Sequence[PodAllocation],
    *,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> tuple[RestoredPod, ...]:
    """Give every pod its owner's values, several at a time; the report is in the order of the allocations."""

    def one(allocation: PodAllocation) -> RestoredPod:
        try:
            return put_back(cluster.api, allocation, dry_run=dry_run)
        except (ApiAway, ApiRefused) as err:
            spec = allocation.spec
            return RestoredPod(
                namespace=allocation.metadata.namespace,
                pod=spec.pod_name,
                node=spec.node_name,
                result=RestoreResult.FAILED,
                detail=str(err),
            )

    done = []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="restore") as pool:
        for report in pool.map(one, allocations):
            done.append(report)
            on_progress(len(done), len(allocations))
    return tuple(done)


def restore_all(
    cluster: Cluster,
    *,
    namespace: str | None = None,
    dry_run: bool = False,
    force: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> RestoreReport:
    """Stop the controllers, then put everything back: of one namespace, or (None) of all.

    Raises:
        InstallError: Somebody may still move limits; see `stop_controllers`.
        ApiAway, ApiRefused: The PodAllocations cannot be read; the controllers may be stopped then.
    """
    stopped = 0 if dry_run else stop_controllers(cluster, force=force)
    allocations = cluster.allocations(namespace)
    pods = put_all_back(cluster, allocations or (), dry_run=dry_run, on_progress=on_progress)
    return RestoreReport(pods=pods, stopped_replicas=stopped, installed=allocations is not None)
