"""What runs in the load test: five services, what they cost, and what an owner would have allowed them.

Pure data. The figures are those of the project's requirements: a gateway (request 100m, limit 200m) in front of a
deterministic worker (500m, 1000m; 30 ms of CPU per request) and a bursty one (the same, every fifth request a spike),
beside two noise burners of 80 % intensity. They fit a node of four CPUs, so limits are scaled to the node at hand.
Requests become weights, as the kubelet makes them, and are the same under every regime: what differs is the limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from mbcasd.units import MILLI_PER_CPU

# The CPUs that the requirements' limits were written for: 200 + 1000 + 1000 + 2 x 800 = 3800m.
REFERENCE_CPUS = 4

# The test never takes more of a large machine than this, so that what it shows is contention and not idle CPUs.
MAX_CPUS = 4


class Role(Enum):
    """What a service does with a request."""

    GATEWAY = "gateway"  # asks both workers at once and answers when both have
    WORKER = "worker"  # burns CPU time
    NOISE = "noise"  # burns CPU time without being asked


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """One service: what it costs and what its owner allowed it on the reference node."""

    name: str
    role: Role
    cpu_s: float = 0.0  # CPU time per request
    spike_ratio: float = 0.0  # share of requests that cost `spike_factor` times as much
    spike_factor: float = 1.0
    intensity_ratio: float = 0.0  # noise: share of the time in which it wants a CPU
    request_milli: float  # the owner's request on a node of REFERENCE_CPUS; it becomes the weight
    reference_milli: float  # the owner's limit on such a node
    workload_class: str = "standard"  # what the owner tells MBCAS about it
    weight: float = 1.0

    @property
    def mean_cpu_s(self) -> float:
        """CPU time of an average request."""
        return self.cpu_s * (1 + self.spike_ratio * (self.spike_factor - 1))


GATEWAY = WorkloadSpec(
    name="gateway",
    role=Role.GATEWAY,
    cpu_s=0.002,
    request_milli=100,
    reference_milli=200,
    workload_class="latency",
    weight=4,
)
WORKER_A = WorkloadSpec(
    name="worker-a",
    role=Role.WORKER,
    cpu_s=0.030,
    request_milli=500,
    reference_milli=1000,
    workload_class="latency",
    weight=4,
)
WORKER_B = WorkloadSpec(
    name="worker-b",
    role=Role.WORKER,
    cpu_s=0.015,
    spike_ratio=0.2,
    spike_factor=4,
    request_milli=500,
    reference_milli=1000,
    workload_class="latency",
    weight=4,
)
NOISE = tuple(
    WorkloadSpec(
        name=f"noise-{i}",
        role=Role.NOISE,
        intensity_ratio=0.8,
        request_milli=100,
        reference_milli=800,
        workload_class="batch",
    )
    for i in range(2)
)
WORKLOADS: tuple[WorkloadSpec, ...] = (GATEWAY, WORKER_A, WORKER_B, *NOISE)

# The services that answer requests, in the order in which reports name them.
ANSWERING = (WORKER_B.name, WORKER_A.name, GATEWAY.name)


class Regime(Enum):
    """Who sets the limits."""

    FIXED = "fixed"  # the owner, once, as requests add up to the node
    GENEROUS = "generous"  # the owner, once: everybody may use the whole node
    MBCAS = "mbcas"  # starts from the fixed limits; `mbcasd local` moves them


def limits_milli(regime: Regime, cpus: int) -> Mapping[str, float]:
    """The limits that a regime starts with, by workload, in millicores, in steps of 10."""
    if regime is Regime.GENEROUS:
        return {spec.name: float(cpus * MILLI_PER_CPU) for spec in WORKLOADS}
    return {spec.name: max(10.0, round(spec.reference_milli * cpus / REFERENCE_CPUS, -1)) for spec in WORKLOADS}


def shares_of(request_milli: float) -> int:
    """The weight that the kubelet gives for a request, in v1's unit: 1024 per CPU, at least 2."""
    return max(2, round(request_milli * 1024 / MILLI_PER_CPU))
