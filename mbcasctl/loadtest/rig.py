"""The running test bed: cgroups, five services in them, and the generator outside. It leaves no trace.

Use it as a context manager. Whatever ends the block, the processes are stopped and the cgroups removed; what a kill -9
leaves (empty cgroups: the processes die with their pipes) is removed by the next start.
"""

import atexit
import os
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mbcasctl.loadtest import children, wire
from mbcasctl.loadtest.cgroups import PREFIX, RigCgroups, own_base, remove_stale
from mbcasctl.loadtest.children import Child, ChildFailed
from mbcasctl.loadtest.traffic import Job, Sent
from mbcasctl.loadtest.workloads import ANSWERING, GATEWAY, WORKLOADS, Role, WorkloadSpec, shares_of
from mbcasd.model.mounts import CgroupMounts

# A service needs a tenth of a second of CPU to start; a busy machine may take many times that.
_START_WITHIN_S = 60.0

# How long queues may take to empty once the limits are lifted.
_CALM_WITHIN_S = 60.0


class Rig:
    """Five services in cgroups of their own under one parent, and a load generator."""

    def __init__(
        self,
        mounts: CgroupMounts,
        *,
        cpus: tuple[int, ...],
        seed: int,
        work_dir: Path,
        base: str | None = None,
        command: str = "mbcasctl demo",
    ) -> None:
        """Start nothing yet.

        Args:
            mounts: Where the cgroup hierarchies are.
            cpus: The CPUs that the services run on.
            seed: Which requests are spikes.
            work_dir: A folder for the children's complaints.
            base: The cgroup to make the test's parent in; None: where this user may.
            command: What the person typed, for the advice on how to be allowed to.
        """
        self.cpus = cpus
        self._mounts, self._seed = mounts, seed
        self._base = own_base(mounts, os.geteuid()) if base is None else base
        self._log = (work_dir / "children.log").open("ab")
        self._children: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        self._generator: Child | None = None
        self.cgroups = RigCgroups(mounts, self._base, f"{PREFIX}{os.getpid()}", command)
        self.stale: tuple[str, ...] = ()
        self.removed = 0

    def __enter__(self) -> Self:
        """Make the cgroups and start everything, without limits.

        Raises:
            NoPermission: Cgroups cannot be made here.
            ChildFailed: A service did not start; nothing remains.
        """
        atexit.register(self.close)
        try:
            self.stale = remove_stale(self._mounts, self._base)
            self.cgroups.make(spec.name for spec in WORKLOADS)
            for spec in WORKLOADS:
                self.cgroups.set_shares(spec.name, shares_of(spec.request_milli))
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything and remove the cgroups."""
        try:
            self.close()
        except BaseException:
            # A signal in the middle of it. It comes only once (`interrupt.raised_once`), so now there is time.
            self.close()
            raise

    def close(self) -> None:
        """Stop everything and remove the cgroups; may be called again."""
        running = [*self._children.values(), *([self._generator] if self._generator else [])]
        # A throttled service would take its time to end.
        self.lift_limits(quietly=True)
        for child in running:
            child.terminate()
        for child in running:
            child.close()
        self._children.clear()
        self._generator = None
        self.removed += self.cgroups.remove()
        self._log.close()
        atexit.unregister(self.close)

    def _start(self) -> None:
        """Workers and noise at once, then the gateway, which needs to know where the workers are."""
        self._generator = Child("the load generator", children.send_command(), log=self._log)
        first = [spec for spec in WORKLOADS if spec.role is not Role.GATEWAY]
        for spec in first:
            self._spawn(spec)
        for spec in first:
            self._await_port(spec)
        self._spawn(GATEWAY)
        self._await_port(GATEWAY)

    def _spawn(self, spec: WorkloadSpec) -> None:
        arguments = [spec.role.value, "--threads", str(len(self.cpus)), "--seed", str(self._seed)]
        arguments += ["--cpus", ",".join(map(str, self.cpus)), "--cpu-ms", f"{spec.cpu_s * 1000:g}"]
        arguments += ["--spike-ratio", f"{spec.spike_ratio:g}", "--spike-factor", f"{spec.spike_factor:g}"]
        if spec.role is Role.NOISE:
            arguments += ["--intensity", f"{spec.intensity_ratio:g}"]
        if spec.role is Role.GATEWAY:
            for worker in (w.name for w in WORKLOADS if w.role is Role.WORKER):
                arguments += ["--upstream", f"{worker}={self._ports[worker]}"]
        for file in self.cgroups.join_files(spec.name):
            arguments += ["--join", file]
        self._children[spec.name] = Child(spec.name, children.serve_command(*arguments), log=self._log)

    def _await_port(self, spec: WorkloadSpec) -> None:
        child = self._children[spec.name]
        said = child.read_line(_START_WITHIN_S).decode()
        if not said.startswith("ready "):
            raise ChildFailed(f"{spec.name} said {said!r} instead of its port")
        self._ports[spec.name] = int(said.removeprefix("ready "))

    @property
    def pids(self) -> Mapping[str, int]:
        """The services' processes."""
        return {name: child.pid for name, child in self._children.items()}

    def check_alive(self) -> None:
        """Make sure that all services run.

        Raises:
            ChildFailed: One ended, which none should.
        """
        for child in self._children.values():
            if child.returncode is not None:
                raise child.failure("ended")

    def set_limits(self, limits_milli: Mapping[str, float]) -> None:
        """Set the owner's limits."""
        for name, milli in limits_milli.items():
            self.cgroups.set_limit(name, milli)

    def lift_limits(self, *, quietly: bool = False) -> None:
        """Take all limits away; `quietly` where it does not matter any more."""
        for name in self._children:
            try:
                self.cgroups.set_limit(name, None)
            except Exception:
                if not quietly:
                    raise

    def calm_down(self) -> None:
        """Lift the limits and wait until no service works on a request any more: each regime starts from calm.

        Raises:
            ChildFailed: The queues do not empty.
        """
        self.lift_limits()
        ends_s = time.monotonic() + _CALM_WITHIN_S
        while any(self.meter(name, "mbcas_eval_requests_in_flight") for name in ANSWERING):
            if time.monotonic() > ends_s:
                raise ChildFailed(f"the services still have requests {_CALM_WITHIN_S:g} s after the last one")
            time.sleep(0.05)

    def meter(self, name: str, metric: str) -> float:
        """One figure from a service's `/metrics`.

        Raises:
            ChildFailed: The service does not answer.
        """
        try:
            with urllib.request.urlopen(f"http://{wire.LOOPBACK}:{self._ports[name]}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError as err:
            raise ChildFailed(f"{name} does not answer: {err}") from err
        for line in text.splitlines():
            if line.startswith(f"{metric} "):
                return float(line.split()[1])
        raise ChildFailed(f"{name} has no metric {metric}")

    def start_sending(self, offsets_s: tuple[float, ...], *, start_at_s: float, drain_s: float) -> None:
        """Hand a schedule to the generator; it starts by itself at the given monotonic time."""
        assert self._generator is not None  # noqa: S101 - the rig was entered
        job = Job(port=self._ports[GATEWAY.name], start_at_s=start_at_s, offsets_s=offsets_s, drain_s=drain_s)
        self._generator.write_line(msgspec.json.encode(job))

    def poll_sent(self, within_s: float) -> Sent | None:
        """Return what became of the schedule; None if the generator is not done within so many seconds.

        Raises:
            ChildFailed: The generator ended.
        """
        assert self._generator is not None  # noqa: S101 - the rig was entered
        line = self._generator.poll_line(within_s)
        return None if line is None else msgspec.json.decode(line, type=Sent)
