"""Why a container is not managed: one table, each row with the sentence that people read.

The first row that applies counts. A row also says what becomes of limits that MBCAS has moved before: they go back
to what the owner had set (`gives_back`), or everything stays as it is until the row does not apply any more.
"""

from collections.abc import Callable
from enum import Enum
from math import inf
from typing import NamedTuple

from mbcasd.kube import bounds, names
from mbcasd.kube.allocating.autoscalers import Autoscalers
from mbcasd.kube.allocating.members import Member
from mbcasd.kube.objects import Namespace, Pod, PodAllocation
from mbcasd.settings import ResizeSettings, SelectionSettings

# A resize that meets a container while it is being started can be lost (kubernetes/kubernetes#138760). The kubelet
# tells the time of its start to the second, so this is one to two of them.
YOUNG_S = 2.0

# Resizing these makes the kubelet evict others to make room (KEP-1287, "Kubelet-triggered eviction").
CRITICAL_CLASSES = frozenset({"system-node-critical", "system-cluster-critical"})
CRITICAL_PRIORITY = 2_000_000_000

_NEVER_NAMESPACES = frozenset({"kube-system", names.NAMESPACE})
_MIRROR, _SOURCE = "kubernetes.io/config.mirror", "kubernetes.io/config.source"


class Skip(Enum):
    """Why not, in a word or two."""

    ENDING = "ending"
    NOT_RUNNING = "not running"
    NAMESPACE = "excluded namespace"
    OPTED_OUT = "opted out"
    NOT_OPTED_IN = "not opted in"
    NOT_SELECTED = "not selected"
    CRITICAL = "critical"
    STATIC = "static pod"
    WINDOWS = "windows"
    BEST_EFFORT = "best effort"
    NO_LIMIT = "no limit"
    TINY_LIMIT = "tiny limit"
    TOO_MANY = "too many containers"
    RESTARTS = "restarts on resize"
    GUARANTEED = "guaranteed"
    OWN_CPUS = "own cpus"
    FIXED_REQUEST = "fixed request"
    VPA = "vpa"
    CONFLICT = "conflict"
    NO_RESIZE = "no resize"
    NO_QUOTA = "no quota"
    STARTING = "starting"
    YOUNG = "too young"


class Subject(NamedTuple):
    """One container, and all that is known about whether it may be managed."""

    pod: Pod
    member: Member
    members: tuple[Member, ...]
    namespace: Namespace | None  # None: not known yet
    allocation: PodAllocation | None  # the pod's; None: there is none
    autoscalers: Autoscalers
    selection: SelectionSettings
    resize: ResizeSettings
    own_namespace: str
    quota_is_unlimited: bool  # by its cgroup
    now_wall_s: float

    @property
    def owner_limit_milli(self) -> int | None:
        """What the owner had set; None: nothing."""
        original = self.allocation.spec.original if self.allocation is not None else ()
        known = next((cpu.limit_milli for cpu in original if cpu.name == self.member.name), None)
        return self.member.limit_milli if known is None else known


class Skipped(NamedTuple):
    """Why a container is not managed."""

    skip: Skip
    sentence: str
    gives_back: bool
    until_wall_s: float = inf  # when it has to be judged again though nothing has changed


def why_not(subject: Subject) -> Skipped | None:
    """The first reason against managing this container; None: it is managed."""
    for row in _TABLE:
        sentence = row.why(subject)
        if sentence:
            until_wall_s = _grown_up_wall_s(subject) if row.skip is Skip.YOUNG else inf
            return Skipped(row.skip, sentence, row.gives_back, until_wall_s)
    return None


def manages_guaranteed(pod: Pod, resize: ResizeSettings) -> bool:
    """Whether the pod is to be managed even if it is Guaranteed: its own annotation, else the setting."""
    own = pod.metadata.annotations.get(names.SKIP_GUARANTEED_ANNOTATION)
    return own == "false" if own in {"true", "false"} else not resize.skip_guaranteed


class _Row(NamedTuple):
    skip: Skip
    gives_back: bool
    why: Callable[[Subject], str]  # empty: it does not apply


def _is_ending(subject: Subject) -> str:
    return "it is being deleted" if subject.pod.metadata.deletion_timestamp is not None else ""


def _is_not_running(subject: Subject) -> str:
    phase = subject.pod.status.phase
    return "" if phase == "Running" else f"it is {phase or 'unknown'}, not Running"


def _is_in_excluded_namespace(subject: Subject) -> str:
    namespace = subject.pod.metadata.namespace
    return "excluded namespace" if namespace in _NEVER_NAMESPACES | {subject.own_namespace} else ""


def _has_opted_out(subject: Subject) -> str:
    if subject.pod.metadata.annotations.get(names.IGNORE_ANNOTATION) == "true":
        return f"opted out: its annotation {names.IGNORE_ANNOTATION} is true"
    where, value = _word(subject)
    if value is None or value == "true":
        return ""
    return f"opted out: the label {names.MANAGED_LABEL} of the {where} is {value or 'empty'}"


def _has_not_opted_in(subject: Subject) -> str:
    if not subject.selection.opt_in or _word(subject)[1] == "true":
        return ""
    return f"not opted in: label the namespace or the pod with {names.MANAGED_LABEL}=true"


def _is_not_selected(subject: Subject) -> str:
    selection, pod = subject.selection, subject.pod
    if selection.namespaces and pod.metadata.namespace not in selection.namespaces:
        return "selection.namespaces does not name its namespace"
    for wanted in selection.labels:
        key, _, value = wanted.partition("=")
        if pod.metadata.labels.get(key) != value:
            return f"it has not the label {wanted} of selection.labels"
    if pod.status.qos_class in selection.excluded_classes:
        return f"selection.excluded_classes names {pod.status.qos_class}"
    return ""


def _is_critical(subject: Subject) -> str:
    spec = subject.pod.spec
    if spec.priority_class_name in CRITICAL_CLASSES or (spec.priority or 0) >= CRITICAL_PRIORITY:
        return f"its priority class is critical ({spec.priority_class_name or spec.priority})"
    return ""


def _is_static(subject: Subject) -> str:
    metadata = subject.pod.metadata
    is_static = (
        _MIRROR in metadata.annotations
        or metadata.annotations.get(_SOURCE, "api") != "api"
        or any(owner.kind == "Node" for owner in metadata.owner_references)
    )
    return "a static pod: the API cannot resize it" if is_static else ""


def _is_windows(subject: Subject) -> str:
    return "a Windows pod: it cannot be resized" if subject.pod.spec.os.get("name") == "windows" else ""


def _is_best_effort(subject: Subject) -> str:
    return "BestEffort: it has no CPU limit to move" if subject.pod.status.qos_class == "BestEffort" else ""


def _has_no_limit(subject: Subject) -> str:
    if subject.member.limit_milli is not None:
        return ""
    return "it has no CPU limit, and one that is given could not be taken away again"


def _has_tiny_limit(subject: Subject) -> str:
    limit_milli = subject.owner_limit_milli
    if limit_milli is None or limit_milli >= bounds.LIMIT_MILLI_MIN:
        return ""
    return f"its limit is {limit_milli}m, and the kernel enforces none below {bounds.LIMIT_MILLI_MIN}m"


def _has_too_many_containers(subject: Subject) -> str:
    if len(subject.members) <= bounds.CONTAINERS_MAX:
        return ""
    return f"its pod has {len(subject.members)} containers, more than {bounds.CONTAINERS_MAX}"


def _restarts(subject: Subject) -> str:
    return "its resizePolicy restarts it when its CPU changes" if subject.member.restarts_on_resize else ""


def _is_guaranteed(subject: Subject) -> str:
    if subject.pod.status.qos_class != "Guaranteed" or manages_guaranteed(subject.pod, subject.resize):
        return ""
    return f"Guaranteed: annotate the pod with {names.SKIP_GUARANTEED_ANNOTATION}=false to have it managed"


def _may_have_own_cpus(subject: Subject) -> str:
    limit_milli = subject.owner_limit_milli
    if subject.pod.status.qos_class != "Guaranteed" or limit_milli is None or limit_milli % 1000:
        return ""
    return "Guaranteed with whole CPUs: they may be its own, and then a resize is impossible"


def _has_fixed_request(subject: Subject) -> str:
    if subject.pod.status.qos_class != "Guaranteed":
        return ""
    hpa = subject.autoscalers.hpa_of(subject.pod)
    return f"Guaranteed, so its request would move with the limit, and HPA {hpa} watches it" if hpa else ""


def _has_vpa(subject: Subject) -> str:
    vpa = subject.autoscalers.vpa_of(subject.pod, subject.member.name)
    return f"VPA {vpa} moves its CPU: set its updateMode to Off or Initial, or opt out" if vpa else ""


def _is_in_conflict(subject: Subject) -> str:
    conditions = subject.allocation.status.conditions if subject.allocation is not None else ()
    if not any(condition.type == "Conflict" and condition.status == "True" for condition in conditions):
        return ""
    return "somebody else resized it: delete its PodAllocation to have it managed from there"


def _cannot_resize(subject: Subject) -> str:
    if subject.member.can_resize or not subject.member.is_started:
        return ""
    return "its kubelet does not say what is in force, so it cannot be resized (Kubernetes 1.33 or newer can)"


def _has_no_quota(subject: Subject) -> str:
    if not subject.quota_is_unlimited:
        return ""
    return "no quota enforces its limit: it has CPUs of its own, or the kubelet's cpuCFSQuota is off"


def _is_starting(subject: Subject) -> str:
    return "" if all(member.is_started for member in subject.members) else "not all its containers are started"


def _is_young(subject: Subject) -> str:
    return "it has only just started" if subject.now_wall_s < _grown_up_wall_s(subject) else ""


def _grown_up_wall_s(subject: Subject) -> float:
    return max(member.started_wall_s for member in subject.members) + YOUNG_S


def _word(subject: Subject) -> tuple[str, str | None]:
    """Who says whether it is managed, and what; the pod's own word wins."""
    own = subject.pod.metadata.labels.get(names.MANAGED_LABEL)
    if own is not None:
        return "pod", own
    labels = subject.namespace.metadata.labels if subject.namespace is not None else {}
    return "namespace", labels.get(names.MANAGED_LABEL)


_TABLE = (
    _Row(Skip.ENDING, gives_back=False, why=_is_ending),
    _Row(Skip.NOT_RUNNING, gives_back=False, why=_is_not_running),
    _Row(Skip.NAMESPACE, gives_back=True, why=_is_in_excluded_namespace),
    _Row(Skip.OPTED_OUT, gives_back=True, why=_has_opted_out),
    _Row(Skip.NOT_OPTED_IN, gives_back=True, why=_has_not_opted_in),
    _Row(Skip.NOT_SELECTED, gives_back=True, why=_is_not_selected),
    _Row(Skip.CRITICAL, gives_back=True, why=_is_critical),
    _Row(Skip.STATIC, gives_back=True, why=_is_static),
    _Row(Skip.WINDOWS, gives_back=True, why=_is_windows),
    _Row(Skip.BEST_EFFORT, gives_back=True, why=_is_best_effort),
    _Row(Skip.NO_LIMIT, gives_back=True, why=_has_no_limit),
    _Row(Skip.TINY_LIMIT, gives_back=True, why=_has_tiny_limit),
    _Row(Skip.TOO_MANY, gives_back=True, why=_has_too_many_containers),
    _Row(Skip.RESTARTS, gives_back=True, why=_restarts),
    _Row(Skip.GUARANTEED, gives_back=True, why=_is_guaranteed),
    _Row(Skip.OWN_CPUS, gives_back=True, why=_may_have_own_cpus),
    _Row(Skip.FIXED_REQUEST, gives_back=True, why=_has_fixed_request),
    _Row(Skip.VPA, gives_back=True, why=_has_vpa),
    _Row(Skip.CONFLICT, gives_back=False, why=_is_in_conflict),
    _Row(Skip.NO_RESIZE, gives_back=False, why=_cannot_resize),
    _Row(Skip.NO_QUOTA, gives_back=False, why=_has_no_quota),
    _Row(Skip.STARTING, gives_back=False, why=_is_starting),
    _Row(Skip.YOUNG, gives_back=False, why=_is_young),
)
