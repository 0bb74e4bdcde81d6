"""Looks at the machine, and only looks; whatever fails is a fact as well."""

import os
import socket
from pathlib import Path

from mbcasctl.doctor.facts import CgroupFacts, ClockFacts, DaemonFacts, HostFacts, LedgerFacts, PressureFacts
from mbcasctl.sources import daemon as daemons
from mbcasctl.survey import targets
from mbcasctl.survey.targets import Target
from mbcasd.clock import Clock
from mbcasd.errors import ActuationError, ConfigError, MbcasError, SensingError
from mbcasd.host.files import LimitFiles
from mbcasd.host.held import Held, is_same_limit
from mbcasd.host.ledger import Ledger
from mbcasd.model.mounts import CgroupMounts
from mbcasd.sensing.tree import CgroupTree, kernel_version

# More than these are not opened for a look at their limits.
_MOST_CGROUPS = 2000

# The daemon answers in milliseconds.
_PATIENCE_S = 2.0


def gather(socket_path: str, state_dir: str, clock: Clock, root: Path = Path("/")) -> HostFacts:
    """Collect all facts.

    Args:
        socket_path: Where the daemon would answer.
        state_dir: Where it would keep the owners' limits.
        clock: The machine's.
        root: Where /proc and /sys are.
    """
    wall_s, now_s = clock.wall_s(), clock.now_s()
    tree, trouble = None, ""
    try:
        tree = CgroupTree.detect(str(root / "proc/self/mountinfo"))
    except (ConfigError, SensingError) as err:
        trouble = str(err)
    mounts = None if tree is None else tree.mounts
    cgroup = CgroupFacts(mounts=None, trouble=trouble) if tree is None else _cgroup(tree)
    pressure = _pressure(root, mounts)
    daemon = _daemon(socket_path)
    ledger = _ledger(state_dir, mounts)
    return HostFacts(
        node=socket.gethostname(),
        is_root=os.geteuid() == 0,
        first_process=_text(root / "proc/1/comm"),
        kernel=os.uname().release,
        kernel_version=kernel_version(),
        cpus=len(os.sched_getaffinity(0)),
        cgroup=cgroup,
        pressure=pressure,
        clock=ClockFacts(
            source=_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
            wall_s=wall_s,
            stepped_s=(clock.wall_s() - wall_s) - (clock.now_s() - now_s),
        ),
        daemon=daemon,
        ledger=ledger,
    )


def _cgroup(tree: CgroupTree) -> CgroupFacts:
    try:
        found = targets.find(tree, ()).found[:_MOST_CGROUPS]
    except MbcasError:
        found = ()
    periods: set[int] = set()
    unlimited = []
    for target in found:
        try:
            with LimitFiles(tree.mounts, target.ref) as files:
                limit = files.read()
        except MbcasError:
            continue
        if limit.quota_usec is not None:
            periods.add(limit.period_usec)
        elif target.place is not None:
            unlimited.append(str(target.name))
    return CgroupFacts(
        mounts=tree.mounts,
        has_quota=tree.has_quota(),
        periods_usec=tuple(sorted(periods)),
        has_burst=tree.has_burst(),
        write_trouble=_write_trouble(tree, found),
        unlimited_containers=tuple(unlimited),
        containers=sum(target.place is not None for target in found),
    )


def _write_trouble(tree: CgroupTree, found: tuple[Target, ...]) -> str:
    """Why limits cannot be moved: asked of a cgroup that has one, else of the root, where one would be made."""
    for target in found:
        try:
            tree.check_writable(target.ref, str(target.name))
        except ActuationError as err:
            return str(err)
        except SensingError:
            continue
        return ""
    if os.access(tree.mounts.cpu, os.W_OK):
        return ""
    return f"cannot make cgroups below {tree.mounts.cpu}"


def _pressure(root: Path, mounts: CgroupMounts | None) -> PressureFacts:
    file = root / "proc/pressure/cpu"
    return PressureFacts(
        in_kernel=file.exists(),
        switched_on=bool(_text(file)),
        per_cgroup=mounts is not None and mounts.unified is not None,
    )


def _daemon(socket_path: str) -> DaemonFacts:
    try:
        node = daemons.over_socket(socket_path, timeout_s=_PATIENCE_S).snapshot()
    except MbcasError as err:
        cause = err.__cause__
        return DaemonFacts(
            socket=socket_path,
            trouble=str(err),
            absent=isinstance(cause, FileNotFoundError | ConnectionRefusedError | NotADirectoryError),
            denied=isinstance(cause, PermissionError),
        )
    count = len(node.workloads)
    return DaemonFacts(
        socket=socket_path,
        summary=f"{node.version}: {node.run_mode}, {count} workload{'' if count == 1 else 's'}",
        problems=node.problems,
        latency_sources=node.latency_sources,
    )


def _ledger(state_dir: str, mounts: CgroupMounts | None) -> LedgerFacts:
    alive = False
    try:
        ledger = Ledger.reopen(state_dir)
    except ActuationError:
        # A daemon holds it, or it cannot be read: forced, only the second one remains.
        try:
            ledger, alive = Ledger.reopen(state_dir, force=True), True
        except ActuationError as err:
            return LedgerFacts(state_dir=state_dir, trouble=str(err))
    if ledger is None:
        return LedgerFacts(state_dir=state_dir)
    try:
        held = ledger.held()
    finally:
        ledger.close()
    left = tuple(one.unit or one.cgroup.path for one in held if mounts is not None and _is_in_force(one, mounts))
    return LedgerFacts(state_dir=state_dir, daemon_alive=alive, left=left)


def _is_in_force(held: Held, mounts: CgroupMounts) -> bool:
    """Whether a cgroup that we held still has a limit of ours."""
    try:
        with LimitFiles(mounts, held.cgroup) as files:
            limit = files.read()
    except MbcasError:
        return False  # it is gone, perhaps made again: nothing of ours is in force
    return held.may_have_set(limit) and not is_same_limit(limit, held.owner)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
