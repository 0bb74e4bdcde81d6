"""`mbcasd agent`: a Kubernetes node. Who is wired to whom.

It senses and decides as `mbcasd local` does, but moves nothing itself: decisions become PodAllocations, which the
controller carries out. So nothing is put back when it stops: limits stay where they are, and what the owners had set
stands in the objects, from which the next agent goes on.
"""

import argparse
import logging
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType

import msgspec

from mbcasd import __version__, engine, places
from mbcasd.accounting.metrics import Metrics
from mbcasd.accounting.record import Recorder
from mbcasd.clock import SystemClock
from mbcasd.drivers.live import Live
from mbcasd.drivers.picture import Painter
from mbcasd.drivers.sensors import Sensors
from mbcasd.engine.step import OPTIMIZER
from mbcasd.errors import ConfigError
from mbcasd.kube import access, names
from mbcasd.kube.allocating import shares
from mbcasd.kube.allocating.allocator import Allocator
from mbcasd.kube.allocating.intents import PodFacts
from mbcasd.kube.allocating.watches import NodeWatches
from mbcasd.kube.allocating.writer import AllocationWriter
from mbcasd.kube.api import Api
from mbcasd.kube.events import Events
from mbcasd.latency.sources import Latencies
from mbcasd.model.decision import Decision, RunMode, Workload
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.readings import LimitReading, NodeReading
from mbcasd.model.snapshot import NodeSnapshot
from mbcasd.roles.collector import calm_the_collector
from mbcasd.roles.node_pods import NodePods
from mbcasd.roles.notify import ServiceManager
from mbcasd.roles.settingsfile import SettingsFile
from mbcasd.sensing.capacity import NodeReader
from mbcasd.sensing.tasks import tasks_of
from mbcasd.sensing.tree import CgroupTree
from mbcasd.serving.server import Routes, Server
from mbcasd.settings import BurstPolicy, Preset, RequestPolicy, Settings

log = logging.getLogger(__name__)

# A loop that has not passed for so long is not healthy.
STUCK_AFTER_S = 10.0

# From the quota in the cgroup to the controller's knowing that it is there, at most as a rule.
CONFIRMATION_LAG_S = 1.0

# A list of what is wrong is for people: so many lines of one kind.
PROBLEMS_AT_MOST = 10

# The API is quiet when all is well: bookmarks come once a minute.
QUIET_S = 90.0


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run until a signal ends it.

    Returns:
        0 after a clean stop, 1 after a bug in one of its threads.

    Raises:
        MbcasError: It could not start.
    """
    stop = threading.Event()
    daemon = _Daemon(options, environ, stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, daemon.on_stop)
    signal.signal(signal.SIGHUP, daemon.on_reload)
    threading.excepthook = daemon.on_thread_bug
    return daemon.run()


class _Daemon:
    """All parts of `mbcasd agent`."""

    def __init__(self, options: argparse.Namespace, environ: Mapping[str, str], stop: threading.Event) -> None:
        self._options, self._environ, self._stop = options, environ, stop
        self._clock = SystemClock()
        self._manager = ServiceManager(environ)
        self._run_mode = RunMode(options.mode)
        self._events: Events | None = None
        self._file = SettingsFile(options.config, environ, "agent", on_refused=self._tell)
        self._node = options.node_name or environ.get("NODE_NAME") or socket.gethostname().lower()
        self._tree = CgroupTree.detect(below=options.cgroup_mount)
        self._kubepods = self._tree.resolve(options.kubepods) if options.kubepods else None
        self._node_reader = NodeReader()
        self._cpus = max(1, round(self._node_reader.read().cpu_milli / 1000))
        self._node_milli = _allocatable_milli(options.capacity, environ) or self._cpus * 1000.0
        self._api = Api(
            access.detect(options.kubeconfig, options.context, environ),
            clock=self._clock,
            user_agent=f"mbcasd/{__version__} agent",
        )
        self._metrics = Metrics(self._node, __version__)
        self._writer = AllocationWriter(
            self._api,
            node_name=self._node,
            recommends=self._run_mode is RunMode.RECOMMEND,
            clock=self._clock,
            count=self._metrics.count_allocation_write,
        )
        self._watches = NodeWatches(self._api, self._node, clock=self._clock, on_allocation=self._writer.heard)
        self._pods = NodePods(
            self._watches,
            self._writer,
            self._tree,
            kubepods=self._kubepods,
            own_namespace=environ.get("POD_NAMESPACE", names.NAMESPACE),
            node_milli=self._node_milli,
            run_mode=self._run_mode,
            settings=self._file.settings,
            clock=self._clock,
        )
        self._sensors = Sensors(self._pods.discover, self._pods.open, self._file.settings.loops)
        self._allocator = Allocator(self._writer, self._sensors.limit_of, self._clock)
        self._latencies = Latencies(self._file.settings, self._clock, lambda cgroup: tasks_of(self._tree, cgroup))
        self._looked_at: NodeSnapshot | None = None
        self._surveyed: tuple[PodFacts, ...] | None = None
        self._live: Live | None = None
        self._shares: dict[str, dict[str, int]] = {}
        self._passed_at_s = self._clock.now_s()
        self._share_due_s = self._passed_at_s + shares.EVERY_S / 4  # once it is known what limits are needed
        self._reload_wanted = self._failed = False

    def on_stop(self, _number: int, _frame: FrameType | None) -> None:
        """SIGTERM, SIGINT: finish the write in flight and stop."""
        self._stop.set()

    def on_reload(self, _number: int, _frame: FrameType | None) -> None:
        """SIGHUP: take over the configuration with the next pass."""
        self._reload_wanted = True

    def on_thread_bug(self, bug: threading.ExceptHookArgs) -> None:
        """A bug in a thread stops the daemon, as one in the loop does."""
        name = bug.thread.name if bug.thread is not None else "a thread"
        trace = (bug.exc_type, bug.exc_value, bug.exc_traceback) if bug.exc_value is not None else None
        log.error("a bug in %s", name, exc_info=trace)
        self._failed = True
        self._stop.set()

    def run(self) -> int:
        """Run to the end and clean up whatever happens."""
        settings = self._file.settings
        state_dir = Path(self._options.state_dir or places.state_dir(self._environ))
        recorder = Recorder(
            Path(settings.record.path or state_dir / "record.db"),
            node=self._node,
            version=__version__,
            settings=settings,
            clock=self._clock,
        )
        self._live = live = Live(
            config=self._engine_config(settings),
            sensors=self._sensors,
            read_node=self._read_node,
            describe=self._describe,
            actuator=self._allocator,
            leak_usec=lambda: self._allocator.leaked_usec,
            painter=Painter(self._node, self._clock.wall_s()),
            recorder=recorder,
            metrics=self._metrics,
            clock=self._clock,
            on_pass=self._on_pass,
            latencies=self._latencies,
            on_decision=self._on_decision,
            more_problems=self._problems,
            # Many a node has no pod that is managed: only of the whole cluster it is worth a word.
            nothing_managed=None,
        )
        server = Server(
            Routes(
                metrics=self._metrics.render,
                status=lambda: msgspec.json.encode(live.latest),
                healthy=self._healthy,
                ready=self._ready,
                slo=self._latencies.take,
            )
        )
        try:
            recorder.start()
            self._listen(server)
            self._watches.start()
            self._writer.start()
            calm_the_collector()
            live.run(self._stop)
        finally:
            self._manager.stopping()
            self._latencies.close()
            self._writer.close()
            self._api.close()
            self._watches.stop()
            if self._events is not None:
                self._events.stop(within_s=0.0)
            server.close()
            self._sensors.close()
            recorder.close()
        return 1 if self._failed else 0

    def _engine_config(self, settings: Settings) -> engine.EngineConfig:
        if settings.resize.burst is BurstPolicy.ON:
            raise ConfigError("resize.burst is on, but Kubernetes cannot set a burst: use auto or off")
        if settings.demand.preset not in {Preset.AUTO, Preset.K}:
            log.warning("preset %s needs burst, which Kubernetes cannot set: using k", settings.demand.preset.value)
        # The controller's cooldown of a pod begins when the kubelet has confirmed the last resize, which is after the
        # cgroup shows it: a decrease that comes too early would wait there, and keep its container from being raised.
        resize = replace(settings.resize, cooldown_s=settings.resize.cooldown_s + CONFIRMATION_LAG_S)
        return engine.EngineConfig(
            settings=replace(settings, resize=resize),
            run_mode=self._run_mode,
            preset=Preset.K,
            burst=False,
            cpus=self._cpus,
            follows_changes=True,
        )

    def _read_node(self) -> NodeReading:
        return NodeReading(cpu_milli=self._node_milli, usage_milli=self._node_reader.read().usage_milli)

    def _describe(
        self, found: Mapping[WorkloadId, CgroupRef], limits: Mapping[WorkloadId, LimitReading]
    ) -> dict[WorkloadId, Workload]:
        workloads = self._pods.describe(found, limits)
        if self._watches.synced and self._pods.facts is not self._surveyed:
            self._surveyed = self._pods.facts
            self._allocator.survey(self._surveyed)
        if self._file.settings.resize.request_policy is RequestPolicy.SHARE:
            self._share(limits)
        return workloads

    def _share(self, limits: Mapping[WorkloadId, LimitReading]) -> None:
        """Clear the slow market of requests, when it is due."""
        now_s = self._clock.now_s()
        if now_s < self._share_due_s or not self._watches.synced:
            return
        self._share_due_s = now_s + shares.EVERY_S
        market = self._file.settings.market
        sharers, others_milli = self._pods.sharers(limits)
        capacity_milli = self._node_milli * (1 - market.system_reserve_percent / 100) - others_milli
        self._shares = shares.shares_of(sharers, self._shares, capacity_milli, market.quantum_milli or 1.0)
        self._writer.share(self._shares)

    def _on_decision(self, decision: Decision) -> None:
        self._allocator.note(decision)
        if self._run_mode is RunMode.RECOMMEND and decision.trigger == OPTIMIZER:
            self._allocator.recommend(decision, self._file.settings.market)

    def _on_pass(self, picture: NodeSnapshot | None) -> None:
        now_s = self._clock.now_s()
        if picture is not None:
            self._manager.alive(now_s)
        looked = picture is not None and picture is not self._looked_at
        self._passed_at_s, self._looked_at = now_s, picture
        if self._reload_wanted or looked:
            hup, self._reload_wanted = self._reload_wanted, False
            before = self._file.settings
            if self._file.poll() or hup:
                self._reload(before, now_s)

    def _reload(self, before: Settings, now_s: float) -> None:
        """Take over changed settings; what this role cannot do is refused, and the old ones stay in force."""
        self._manager.reloading(now_s)
        try:
            config = self._engine_config(self._file.settings)
            self._latencies.reconfigure(self._file.settings)
        except ConfigError as err:
            log.error("settings not taken over, the old ones stay in force: %s", err)  # noqa: TRY400
            self._file.settings = before
            self._tell(str(err))
        else:
            self._pods.reconfigure(self._file.settings)
            if self._live is not None:
                self._live.reconfigure(config)
        self._manager.ready(self._status_line())

    def _tell(self, refusal: str) -> None:
        """An event on the agent's own pod, for those who changed the ConfigMap and look there."""
        name, namespace = self._environ.get("POD_NAME"), self._environ.get("POD_NAMESPACE")
        if not name or not namespace:
            return
        if self._events is None:
            self._events = Events(self._api, component=names.AGENT, instance=self._node, clock=self._clock)
        regarding = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name}
        self._events.emit(regarding, reason="ConfigRefused", note=refusal, action="Reload", is_warning=True)

    def _problems(self) -> Iterator[str]:
        """What of the cluster a person should look at, most important first."""
        heard_s = self._watches.last_heard_s
        silent_s = self._clock.now_s() - heard_s if heard_s is not None else 0.0
        for trouble in dict.fromkeys((*self._watches.troubles, *self._writer.troubles)):
            yield f"{trouble}; nothing heard for {silent_s:.0f} s" if silent_s > QUIET_S else trouble
        yield from _shortened(list(_of_allocations(self._writer)))
        yield from _shortened(list(self._pods.problems()))

    def _healthy(self) -> tuple[bool, str]:
        stuck_s = self._clock.now_s() - self._passed_at_s
        return stuck_s < STUCK_AFTER_S, f"last pass {stuck_s:.1f} s ago"

    def _ready(self) -> tuple[bool, str]:
        if not self._watches.synced:
            return False, "; ".join(self._watches.troubles) or "the API server has not told everything yet"
        if self._live is None or self._live.latest is None:
            return False, "no pass is through yet"
        return True, "ready"

    def _status_line(self) -> str:
        return f"{self._run_mode.value}: node {self._node} by {self._api.access.server}"

    def _listen(self, server: Server) -> None:
        server.listen_unix(Path(self._options.socket or places.socket_path(self._environ)))
        if self._options.metrics_address:
            server.listen_tcp(self._options.metrics_address)
        self._manager.ready(self._status_line())
        log.info("mbcasd %s, %s", __version__, self._status_line())


def _allocatable_milli(given_milli: float | None, environ: Mapping[str, str]) -> float | None:
    """What pods may use of the node: named by a flag, else told by the downward API; None: neither.

    Raises:
        ConfigError: NODE_ALLOCATABLE_CPU is no number.
    """
    told = environ.get("NODE_ALLOCATABLE_CPU")
    if given_milli is not None or not told:
        return given_milli
    if not told.isdigit() or int(told) < 10:
        raise ConfigError(
            f"NODE_ALLOCATABLE_CPU is {told!r}, but must be millicores: "
            "resourceFieldRef {resource: limits.cpu, divisor: 1m}"
        )
    return float(told)


def _of_allocations(writer: AllocationWriter) -> Iterator[str]:
    """PodAllocations that the controller could not apply, or not yet."""
    for allocation in writer.all_known():
        status = allocation.status
        who = f"{allocation.metadata.namespace}/{allocation.spec.pod_name}"
        messages = {condition.type: condition.message for condition in status.conditions}
        if status.phase == "Failed":
            yield f"{who}: {status.reason}: {messages.get('Applied') or 'the controller could not apply it'}"
        elif "ResizePending" in messages:
            yield f"{who}: waits for the kubelet: {messages['ResizePending']}"


def _shortened(problems: list[str]) -> list[str]:
    if len(problems) <= PROBLEMS_AT_MOST:
        return problems
    return [*problems[:PROBLEMS_AT_MOST], f"and {len(problems) - PROBLEMS_AT_MOST} more of this kind"]
