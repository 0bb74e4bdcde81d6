"""What was found on the machine, and what a check makes of it."""

from dataclasses import dataclass
from enum import Enum

from mbcasd.model.mounts import CgroupMounts
from mbcasd.model.snapshot import LatencySourceSnapshot


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"  # it works, but not as well as it could
    PROBLEM = "problem"  # it does not work before this is changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one question."""

    check: str  # a word for programs: "cgroup", "psi", …
    level: Level
    message: str
    remedy: str = ""  # what to do; empty: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All of them."""

    node: str  # empty: this host was not asked about
    healthy: bool  # no problem among them
    warnings: int
    problems: int
    findings: tuple[Finding, ...]
    cluster: str = ""  # the API server; empty: no cluster was asked about
    cluster_findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupFacts:
    """The hierarchy with the cpu controller."""

    mounts: CgroupMounts | None  # None: there is none
    trouble: str = ""  # why there is none
    has_quota: bool = True  # the kernel can limit
    periods_usec: tuple[int, ...] = ()  # in use, shortest first
    has_burst: bool = False
    write_trouble: str = ""  # why this process may not move limits; empty: it may
    unlimited_containers: tuple[str, ...] = ()  # of pods
    containers: int = 0  # of pods


@dataclass(frozen=True, slots=True, kw_only=True)
class PressureFacts:
    """Pressure stall information."""

    in_kernel: bool  # /proc/pressure/cpu exists
    switched_on: bool  # and can be read
    per_cgroup: bool  # there is a cgroup2 mount that has it


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFacts:
    """The machine's clocks."""

    source: str  # the kernel's clock source; empty: unknown
    wall_s: float
    stepped_s: float  # by how much the wall clock moved against the monotonic one while the facts were gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """Whoever answers on the socket."""

    socket: str
    summary: str = ""  # "0.1.0, enforce, 5 workloads"; empty: nobody answers
    trouble: str = ""  # why nobody answers
    absent: bool = False  # nobody answers because none is running
    denied: bool = False  # this user may not ask
    problems: tuple[str, ...] = ()  # what it says itself
    latency_sources: tuple[LatencySourceSnapshot, ...] = ()  # whom it asks for latencies


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """Limits that MBCAS has moved."""

    state_dir: str
    daemon_alive: bool = False  # one holds the ledger, and will put them back
    left: tuple[str, ...] = ()  # cgroups with a limit of ours in force
    trouble: str = ""  # why the ledger cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """All that the checks look at."""

    node: str
    is_root: bool
    first_process: str  # the name of PID 1
    kernel: str  # its release: "6.18.44-x"
    kernel_version: tuple[int, int]
    cpus: int
    cgroup: CgroupFacts
    pressure: PressureFacts
    clock: ClockFacts
    daemon: DaemonFacts
    ledger: LedgerFacts
