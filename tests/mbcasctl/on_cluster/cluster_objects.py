"""Kubernetes objects as commands read them, with defaults: a test names only what it is about."""

from mbcasctl.cluster.objects import (
    ContainerSpec,
    DaemonSet,
    Deployment,
    State,
    Template,
    TemplateSpec,
    Terminated,
    Waiting,
    Worker,
    WorkerContainerStatus,
    WorkerSpec,
    WorkerStatus,
    WorkloadSpec,
    WorkloadStatus,
)
from mbcasd import __version__
from mbcasd.kube.objects import (
    AllocationSpec,
    AllocationStatus,
    Condition,
    ContainerCpu,
    Metadata,
    OwnerReference,
    PodAllocation,
)

VERSION_LABEL = {"app.kubernetes.io/version": __version__}


def agents(*, ready: int = 2, wanted: int = 2, updated: int | None = None, mode: str = "observe", **more) -> DaemonSet:
    return DaemonSet(
        metadata=Metadata(name="mbcas-agent", generation=3, labels=VERSION_LABEL, **more),
        spec=WorkloadSpec(
            template=Template(
                spec=TemplateSpec(
                    containers=(ContainerSpec(name="agent", image="mbcas:0.1.0", args=("agent", f"--mode={mode}")),),
                    volumes=({"name": "cgroup", "hostPath": {"path": "/sys/fs/cgroup"}},),
                )
            )
        ),
        status=WorkloadStatus(
            desired_number_scheduled=wanted,
            number_available=ready,
            updated_number_scheduled=wanted if updated is None else updated,
            observed_generation=3,
        ),
    )


def controllers(*, ready: int = 2, replicas: int = 2, pods: int | None = None, **more) -> Deployment:
    return Deployment(
        metadata=Metadata(name="mbcas-controller", generation=1, labels=VERSION_LABEL),
        spec=WorkloadSpec(replicas=replicas),
        status=WorkloadStatus(
            available_replicas=ready,
            updated_replicas=replicas,
            replicas=replicas if pods is None else pods,
            observed_generation=1,
            **more,
        ),
    )


def a_worker(
    name: str = "mbcas-agent-1",
    *,
    made_by: str = "DaemonSet",
    node: str = "node-1",
    phase: str = "Running",
    ready: bool = True,
    waiting: Waiting | None = None,
    ended: Terminated | None = None,
    conditions: tuple[Condition, ...] = (),
    created: str = "2026-11-25T10:00:00Z",
    deleted: str | None = None,
) -> Worker:
    is_ready = Condition(type="Ready", status="True" if ready else "False")
    container = WorkerContainerStatus(
        name="agent", ready=ready, state=State(waiting=waiting), last_state=State(terminated=ended)
    )
    return Worker(
        metadata=Metadata(
            name=name,
            creation_timestamp=created,
            deletion_timestamp=deleted,
            owner_references=(OwnerReference(kind=made_by, name="x", uid="1", controller=True),),
        ),
        spec=WorkerSpec(node_name=node, containers=(ContainerSpec(name="agent", image="mbcas:0.1.0"),)),
        status=WorkerStatus(phase=phase, conditions=(is_ready, *conditions), container_statuses=(container,)),
    )


def an_allocation(
    pod: str = "web",
    *,
    namespace: str = "shop",
    node: str = "node-1",
    limit: int = 500,
    original: int = 200,
    request: int | None = None,
    phase: str = "Applied",
    reason: str = "Resized",
    done: int | None = None,
    conditions: tuple[Condition, ...] = (),
    **more,
) -> PodAllocation:
    return PodAllocation(
        metadata=Metadata(name=f"{pod}.12345678", namespace=namespace),
        spec=AllocationSpec(
            pod_name=pod,
            pod_uid="12345678-0000-0000-0000-000000000000",
            node_name=node,
            containers=(ContainerCpu(name="app", limit_milli=limit, request_milli=request),),
            original=(ContainerCpu(name="app", limit_milli=original, request_milli=100),),
            **more,
        ),
        status=AllocationStatus(
            phase=phase,
            reason=reason,
            containers=(ContainerCpu(name="app", limit_milli=limit if done is None else done),),
            conditions=conditions,
        ),
    )


def a_condition(kind: str, message: str = "") -> Condition:
    return Condition(type=kind, status="True", reason=kind, message=message)
