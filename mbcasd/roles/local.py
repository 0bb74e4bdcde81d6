"""`mbcasd local`: a plain Linux host. Who is wired to whom, and what happens at the end."""

import argparse
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

import msgspec

from mbcasd import __version__, configfile, engine, places
from mbcasd.accounting.metrics import Metrics
from mbcasd.accounting.record import Recorder
from mbcasd.bidding.contract import host_contract
from mbcasd.clock import SystemClock
from mbcasd.drivers.live import Live
from mbcasd.drivers.picture import Painter
from mbcasd.drivers.sensors import Sensors
from mbcasd.errors import BrokenInput, ConfigError, ExpectedTrouble
from mbcasd.host.actuator import HostActuator
from mbcasd.host.ledger import Ledger
from mbcasd.host.restore import restore
from mbcasd.latency.sources import Latencies
from mbcasd.model.decision import RunMode, Workload
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import LimitReading
from mbcasd.model.snapshot import NodeSnapshot
from mbcasd.roles.collector import calm_the_collector
from mbcasd.roles.notify import ServiceManager
from mbcasd.sensing import discovery
from mbcasd.sensing.capacity import NodeReader
from mbcasd.sensing.tasks import tasks_of
from mbcasd.sensing.tree import CgroupTree
from mbcasd.serving.server import Routes, Server
from mbcasd.settings import BurstPolicy, Preset, Settings

log = logging.getLogger(__name__)

# A loop that has not passed for so long is not healthy.
STUCK_AFTER_S = 10.0


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run until a signal, `--duration` or `--once` ends it; the owner's limits are back when it returns.

    Returns:
        0 after a clean stop, 1 when limits could not be put back.

    Raises:
        MbcasError: It could not start; nothing was changed.
    """
    stop = threading.Event()
    daemon = _Daemon(options, environ, stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, daemon.on_stop)
    signal.signal(signal.SIGHUP, daemon.on_reload)
    threading.excepthook = daemon.on_thread_bug
    return daemon.run()


class _Daemon:
    """All parts of `mbcasd local`, from the first check to the last restored limit."""

    def __init__(self, options: argparse.Namespace, environ: Mapping[str, str], stop: threading.Event) -> None:
        self._options, self._environ, self._stop = options, environ, stop
        self._clock = SystemClock()
        self._manager = ServiceManager(environ)
        self._run_mode = RunMode(options.mode)
        self._settings = self._load()
        if not options.parent and not options.unit:
            raise ConfigError(
                "nothing to watch: name a cgroup with --parent /machine.slice, or units with --unit 'web-*.service'"
            )
        self._tree = CgroupTree.detect()
        self._parents = [self._tree.resolve(parent) for parent in options.parent]
        self._state_dir = Path(options.state_dir or places.state_dir(environ))
        self._described: dict[WorkloadId, Workload] = {}
        self._passed_at_s = self._clock.now_s()
        self._reload_wanted = False
        self._failed = False
        self._live: Live | None = None
        self._latencies = Latencies(self._settings, self._clock, lambda cgroup: tasks_of(self._tree, cgroup))

    def on_stop(self, _number: int, _frame: FrameType | None) -> None:
        """SIGTERM, SIGINT: finish the write in flight and stop."""
        self._stop.set()

    def on_reload(self, _number: int, _frame: FrameType | None) -> None:
        """SIGHUP: take over the configuration with the next pass."""
        self._reload_wanted = True

    def on_thread_bug(self, bug: threading.ExceptHookArgs) -> None:
        """A bug in the record's or the server's thread stops the daemon, as one in the loop does."""
        name = bug.thread.name if bug.thread is not None else "a thread"
        trace = (bug.exc_type, bug.exc_value, bug.exc_traceback) if bug.exc_value is not None else None
        log.error("a bug in %s", name, exc_info=trace)
        self._failed = True
        self._stop.set()

    def run(self) -> int:
        """Run to the end and clean up whatever happens."""
        ledger = Ledger(self._state_dir)
        try:
            return self._run_with(ledger)
        finally:
            ledger.close()

    def _run_with(self, ledger: Ledger) -> int:
        node_reader = NodeReader()
        cpus = max(1, round(node_reader.read().cpu_milli / 1000))
        config = self._engine_config(self._settings, cpus)
        wall_s = self._clock.wall_s()
        metrics = Metrics(socket.gethostname(), __version__)
        recorder = Recorder(
            Path(self._settings.record.path or self._state_dir / "record.db"),
            node=socket.gethostname(),
            version=__version__,
            settings=self._settings,
            clock=self._clock,
        )
        actuator = HostActuator(self._tree.mounts, ledger, self._clock)
        sensors = Sensors(self._discover, self._tree.open, self._settings.loops)
        self._live = live = Live(
            config=config,
            sensors=sensors,
            read_node=node_reader.read,
            describe=lambda found, limits: self._describe(found, limits, ledger, cpus),
            actuator=actuator,
            leak_usec=lambda: actuator.leaked_usec,
            painter=Painter(socket.gethostname(), wall_s),
            recorder=recorder,
            metrics=metrics,
            clock=self._clock,
            on_pass=lambda picture: self._on_pass(picture, cpus),
            latencies=self._latencies,
        )
        routes = Routes(
            metrics=metrics.render,
            status=lambda: msgspec.json.encode(live.latest),
            healthy=self._healthy,
            ready=lambda: (live.latest is not None, "ready" if live.latest is not None else "no pass is through yet"),
            slo=self._latencies.take,
        )
        server = Server(routes)
        ended_well = False
        try:
            recorder.start()
            self._listen(server)
            self._check_permission()
            self._tidy_up(ledger)
            calm_the_collector()
            live.run(self._stop, self._until(live))
            ended_well = True
        finally:
            self._manager.stopping()
            if not ended_well:
                log.error("stopping because of an error, the owner's limits are put back")
            server.close()
            self._latencies.close()
            restored = self._put_back(ledger, actuator)
            sensors.close()
            recorder.close()
        if self._options.once and live.latest is not None:
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(live.latest), indent=2).decode() + "\n")
        return 0 if restored and not self._failed else 1

    def _load(self) -> Settings:
        loaded = configfile.load(self._options.config, self._environ, {})
        for note in loaded.without_effect(on_kubernetes=False):
            log.warning("%s", note)
        return loaded.settings

    def _engine_config(self, settings: Settings, cpus: int) -> engine.EngineConfig:
        has_burst = self._tree.has_burst() and not self._options.unit
        if settings.resize.burst is BurstPolicy.ON and not has_burst:
            raise ConfigError(
                "resize.burst is on, but this kernel or the systemd backend cannot set a burst: use auto or off"
            )
        burst = has_burst and settings.resize.burst is not BurstPolicy.OFF
        preset = settings.demand.preset
        if preset is Preset.AUTO:
            preset = Preset.H if burst else Preset.K
        elif preset is not Preset.K and not burst:
            log.warning("preset %s needs burst, which is off here: using k", preset.value)
            preset = Preset.K
        return engine.EngineConfig(
            settings=settings,
            run_mode=self._run_mode,
            preset=preset,
            burst=burst,
            cpus=cpus,
            capacity_milli=self._options.capacity,
        )

    def _discover(self) -> dict[WorkloadId, CgroupRef]:
        found: dict[WorkloadId, CgroupRef] = {}
        for parent in self._parents:
            namespace = parent.strip("/")
            found.update({WorkloadId(namespace, name): ref for name, ref in self._tree.children(parent).items()})
        if self._options.unit:
            for name, ref in discovery.units(self._tree, self._options.unit).items():
                found[WorkloadId("", name)] = ref
        return found

    def _describe(
        self,
        found: Mapping[WorkloadId, CgroupRef],
        limits: Mapping[WorkloadId, LimitReading],
        ledger: Ledger,
        cpus: int,
    ) -> dict[WorkloadId, Workload]:
        """Give every workload that was found its contract, by what its owner had set before us."""
        enforcing = self._run_mode is RunMode.ENFORCE
        workloads = {}
        for name, cgroup in found.items():
            limit = limits.get(name)
            if limit is None:
                continue
            known = self._described.get(name)
            if known is not None and known.cgroup == cgroup and enforcing:
                workloads[name] = known
                continue
            # While nothing is moved, whatever stands there is the owner's.
            owner = (ledger.owner_of(cgroup) or limit) if enforcing else limit
            workloads[name] = Workload(
                cgroup=cgroup,
                contract=host_contract(
                    name,
                    owner.limit_milli,
                    self._options.capacity or cpus * 1000.0,
                    self._settings.workloads,
                    self._settings.market,
                    self._settings.resize.minimum_milli,
                ),
            )
        self._described = workloads
        return workloads

    def _on_pass(self, picture: NodeSnapshot | None, cpus: int) -> None:
        now_s = self._clock.now_s()
        if picture is not None and self._passed_at_s is not None:
            self._manager.alive(now_s)
        self._passed_at_s = now_s
        if self._reload_wanted:
            self._reload_wanted = False
            self._reload(cpus, now_s)

    def _reload(self, cpus: int, now_s: float) -> None:
        """Take over a changed file; a bad one is refused and the old one stays in force."""
        self._manager.reloading(now_s)
        try:
            settings = self._load()
            config = self._engine_config(settings, cpus)
            self._latencies.reconfigure(settings)
        except BrokenInput as err:
            log.error("settings not taken over, the old ones stay in force: %s", err)  # noqa: TRY400
        else:
            self._settings = settings
            self._described = {}
            if self._live is not None:
                self._live.reconfigure(config)
            log.info("settings taken over")
        self._manager.ready(self._status_line())

    def _healthy(self) -> tuple[bool, str]:
        stuck_s = self._clock.now_s() - self._passed_at_s
        return stuck_s < STUCK_AFTER_S, f"last pass {stuck_s:.1f} s ago"

    def _status_line(self) -> str:
        return f"{self._run_mode.value}: {', '.join([*self._parents, *self._options.unit])}"

    def _listen(self, server: Server) -> None:
        server.listen_unix(Path(self._options.socket or places.socket_path(self._environ)))
        if self._options.metrics_address:
            server.listen_tcp(self._options.metrics_address)
        self._manager.ready(self._status_line())
        log.info("mbcasd %s, %s", __version__, self._status_line())

    def _check_permission(self) -> None:
        """Refuse to enforce what this user may not write, before anything is changed."""
        if self._run_mode is not RunMode.ENFORCE:
            return
        for name, ref in self._discover().items():
            self._tree.check_writable(ref, str(name))

    def _tidy_up(self, ledger: Ledger) -> None:
        """Start from the owner's limits: a daemon that died may have left its own, or a person theirs since."""
        if self._run_mode is not RunMode.ENFORCE or not len(ledger):
            return
        report = restore(ledger, self._tree.mounts)
        log.info("the last daemon died: put back the owner's limits of %d workloads", len(report.restored))

    def _until(self, live: Live) -> Callable[[], bool]:
        """What ends the run, apart from signals."""
        if self._options.once:
            return lambda: live.has_cleared
        if self._options.duration is None:
            return lambda: False
        ends_at_s = self._clock.now_s() + self._options.duration
        return lambda: self._clock.now_s() >= ends_at_s

    def _put_back(self, ledger: Ledger, actuator: HostActuator) -> bool:
        """Give the owner's limits back; what somebody else changed since is left as it is."""
        actuator.close()
        try:
            report = restore(ledger, self._tree.mounts)
        except ExpectedTrouble as err:
            log.error("limits could not be put back, run `mbcasctl restore`: %s", err)  # noqa: TRY400
            return False
        for failure in report.failed:
            log.error("%s", failure)
        if report.restored:
            log.info("put back the owner's limits of %d workloads", len(report.restored))
        return not report.failed
