"""Others who scale pods: the HPA, to whom a request is a signal, and the VPA, which moves the same values.

They name the owner of pods (a Deployment), pods name the owner next to them (a ReplicaSet). The way between is read
off the names that the controllers give, so that nobody needs the right to read Deployments and ReplicaSets.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct, field

from mbcasd.kube.objects import Metadata, Pod

# A ReplicaSet is named for its owner and the hash of its template, which its pods carry as a label.
_HASHES = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}

# A CronJob's Jobs are named for it and the minute that they were due.
_OF_CRONJOB = re.compile(r"(?P<name>.+)-\d{7,10}")

# The modes in which the VPA does not touch pods that run; with none given it acts.
_PASSIVE_MODES = frozenset({"Off", "Initial"})


class TargetRef(Struct, frozen=True, kw_only=True):
    """Whose pods are meant."""

    kind: str
    name: str


class _HpaSpec(Struct, frozen=True, kw_only=True, rename="camel"):
    scale_target_ref: TargetRef


class HorizontalPodAutoscaler(Struct, frozen=True, kw_only=True, rename="camel"):
    """One HPA (autoscaling/v2)."""

    metadata: Metadata
    spec: _HpaSpec


class _UpdatePolicy(Struct, frozen=True, kw_only=True, rename="camel"):
    update_mode: str | None = None


class _ContainerPolicy(Struct, frozen=True, kw_only=True, rename="camel"):
    container_name: str = "*"
    mode: str | None = None
    controlled_resources: tuple[str, ...] | None = None


class _ResourcePolicy(Struct, frozen=True, kw_only=True, rename="camel"):
    container_policies: tuple[_ContainerPolicy, ...] | None = None


class _VpaSpec(Struct, frozen=True, kw_only=True, rename="camel"):
    target_ref: TargetRef | None = None
    update_policy: _UpdatePolicy | None = None
    resource_policy: _ResourcePolicy | None = None


class VerticalPodAutoscaler(Struct, frozen=True, kw_only=True, rename="camel"):
    """One VPA (autoscaling.k8s.io/v1)."""

    metadata: Metadata
    spec: _VpaSpec = field(default_factory=_VpaSpec)

    def moves_cpu_of(self, container: str) -> bool:
        """Whether it may change this container's CPU while it runs."""
        policy = self.spec.update_policy
        if policy is not None and policy.update_mode in _PASSIVE_MODES:
            return False
        policies = self.spec.resource_policy.container_policies if self.spec.resource_policy else None
        by_name = {one.container_name: one for one in policies or ()}
        own = by_name.get(container, by_name.get("*"))
        if own is None:
            return True
        return own.mode != "Off" and (own.controlled_resources is None or "cpu" in own.controlled_resources)


class Autoscalers(NamedTuple):
    """Who scales what, by namespace, kind and name of the target."""

    hpas: dict[tuple[str, TargetRef], str]  # the HPA's name
    vpas: dict[tuple[str, TargetRef], tuple[VerticalPodAutoscaler, ...]]

    def hpa_of(self, pod: Pod) -> str | None:
        """The HPA that scales the pod's owner; None: there is none."""
        namespace = pod.metadata.namespace
        return next((name for ref in owners_of(pod) if (name := self.hpas.get((namespace, ref)))), None)

    def vpa_of(self, pod: Pod, container: str) -> str | None:
        """A VPA that moves this container's CPU; None: there is none."""
        for ref in owners_of(pod):
            for vpa in self.vpas.get((pod.metadata.namespace, ref), ()):
                if vpa.moves_cpu_of(container):
                    return vpa.metadata.name
        return None


def index(hpas: Iterable[HorizontalPodAutoscaler], vpas: Iterable[VerticalPodAutoscaler]) -> Autoscalers:
    """Sort them by what they scale."""
    by_target: dict[tuple[str, TargetRef], tuple[VerticalPodAutoscaler, ...]] = {}
    for vpa in vpas:
        if vpa.spec.target_ref is not None:
            key = (vpa.metadata.namespace, vpa.spec.target_ref)
            by_target[key] = (*by_target.get(key, ()), vpa)
    return Autoscalers(
        {(hpa.metadata.namespace, hpa.spec.scale_target_ref): hpa.metadata.name for hpa in hpas}, by_target
    )


def owners_of(pod: Pod) -> tuple[TargetRef, ...]:
    """Whoever made the pod, directly or through a ReplicaSet or a Job; nothing where nobody did."""
    owner = next((owner for owner in pod.metadata.owner_references if owner.controller), None)
    if owner is None:
        return ()
    owners = [TargetRef(kind=owner.kind, name=owner.name)]
    if owner.kind == "ReplicaSet":
        for label, kind in _HASHES.items():
            template_hash = pod.metadata.labels.get(label)
            if template_hash and owner.name.endswith(f"-{template_hash}"):
                owners.append(TargetRef(kind=kind, name=owner.name.removesuffix(f"-{template_hash}")))
    elif owner.kind == "Job" and (match := _OF_CRONJOB.fullmatch(owner.name)):
        owners.append(TargetRef(kind="CronJob", name=match["name"]))
    return tuple(owners)
