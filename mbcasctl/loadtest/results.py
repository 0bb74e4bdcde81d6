"""The outcome of a load test: frozen values, and the file that `loadtest report` reads.

Everything in the file was measured from outside the daemon: waits by the generator, the rest by the kernel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mbcasctl.loadtest import figures
from mbcasctl.loadtest.counters import CgroupFigures
from mbcasctl.loadtest.figures import Latencies
from mbcasctl.loadtest.phases import Phase
from mbcasctl.loadtest.schedule import Schedule
from mbcasctl.loadtest.traffic import Sent
from mbcasctl.loadtest.workloads import GATEWAY, WORKLOADS, Role
from mbcasd.errors import BrokenInput

# Raised when a field changes its meaning; a reader refuses what it does not know.
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One phase, or all of them, under one regime."""

    name: str
    duration_s: float
    latencies: dict[str, Latencies]  # by service, from its clients' side
    workloads: dict[str, CgroupFigures]  # by workload, as the kernel counted

    @property
    def noise_core_s(self) -> float:
        """What the noise burners got done, in core-seconds."""
        names = {spec.name for spec in WORKLOADS if spec.role is Role.NOISE}
        return sum(done.used_core_s for name, done in self.workloads.items() if name in names)

    @property
    def allocated_milli(self) -> float | None:
        """Mean sum of limits; None where one was unlimited."""
        limits = [done.mean_limit_milli for done in self.workloads.values()]
        return None if None in limits else sum(milli for milli in limits if milli is not None)

    @property
    def used_milli(self) -> float:
        """Mean sum of what was used."""
        return sum(done.usage_milli for done in self.workloads.values())

    @property
    def limit_changes(self) -> int:
        """How often a limit moved, all workloads together."""
        return sum(done.limit_changes for done in self.workloads.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeResult:
    """What happened under one regime."""

    regime: str
    limits_milli: dict[str, float]  # the owner's, at the start
    phases: tuple[Stretch, ...]
    total: Stretch
    restarts: int  # services whose process is not the one that it was
    generator_late_p99_ms: float  # how late requests were sent; it is part of their wait
    others_milli: float | None = None  # what the rest of the machine used, mean; None where the test had its CPUs apart
    daemon_mode: str | None = None  # mbcas: the daemon's mode
    daemon_cpu_milli: float | None = None  # mbcas: what the daemon itself used, mean
    limits_restored: bool | None = None  # mbcas: whether the owner's limits were back after the daemon's end


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadtestResult:
    """A whole load test."""

    format: int = FORMAT
    version: str
    started_at: str  # ISO 8601, UTC
    cpus: int
    seed: int
    arrivals: str
    time_scale: float
    rate_scale: float
    phases: tuple[Phase, ...]  # as they ran
    regimes: tuple[RegimeResult, ...]


class _Header(msgspec.Struct):
    """What every format has."""

    format: int


def save(result: LoadtestResult, file: Path) -> None:
    """Write the file, whole or not at all.

    Raises:
        BrokenInput: It cannot be written there.
    """
    fresh = file.with_name(f".{file.name}.part")
    try:
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        fresh.replace(file)
    except OSError as err:
        raise BrokenInput(f"cannot write {file}: {(err.strerror or str(err)).lower()}") from err


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        BrokenInput: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise BrokenInput(f"cannot make {folder}: {(err.strerror or str(err)).lower()}") from err


def check_writable(file: Path) -> None:
    """Find out now what would fail after minutes of load.

    Raises:
        BrokenInput: No file can be made there.
    """
    probe = file.with_name(f".{file.name}.part")
    try:
        probe.touch()
        probe.unlink()
    except OSError as err:
        raise BrokenInput(f"cannot write {file}: {(err.strerror or str(err)).lower()}") from err
    if file.is_dir():
        raise BrokenInput(f"cannot write {file}: it is a folder, name a file in it")


def load(file: Path) -> LoadtestResult:
    """Read such a file.

    Raises:
        BrokenInput: It is missing, or not such a file; the message names the place in it.
    """
    try:
        data = file.read_bytes()
        found = msgspec.json.decode(data, type=_Header).format
        if found != FORMAT:
            raise BrokenInput(f"{file} has format {found}, this program knows {FORMAT}: use the version that wrote it")
        return msgspec.json.decode(data, type=LoadtestResult)
    except OSError as err:
        raise BrokenInput(f"cannot read {file}: {(err.strerror or str(err)).lower()}") from err
    except msgspec.DecodeError as err:
        raise BrokenInput(f"{file} is not a result of `mbcasctl loadtest run`: {err}") from err


def latencies(schedule: Schedule, sent: Sent, start_at_s: float, only_phase: int | None) -> dict[str, Latencies]:
    """Figures of the services, from what the generator noted.

    Args:
        schedule: What was to be sent.
        sent: What became of it.
        start_at_s: When it began, on the machine's monotonic clock.
        only_phase: Index of the phase whose requests count; None: all.
    """
    chosen = [i for i, phase in enumerate(schedule.phase_of) if only_phase in {None, phase}]
    nothing: list[float | None] = [None] * len(schedule.offsets_s)
    services = {GATEWAY.name: sent.waits_s}
    for spec in WORKLOADS:
        if spec.role is Role.WORKER:
            services[spec.name] = sent.parts_s.get(spec.name, nothing)

    def given_up_s(number: int) -> float:
        return max(0.0, sent.ended_at_s - start_at_s - schedule.offsets_s[number])

    def summary(waits_s: Sequence[float | None]) -> Latencies:
        answered = [wait_s for i in chosen if (wait_s := waits_s[i]) is not None]
        return figures.summarise(answered, [given_up_s(i) for i in chosen if waits_s[i] is None])

    return {name: summary(waits_s) for name, waits_s in services.items()}
