"""`mbcasd controller`: the cluster's resize controller. Who is wired to whom, and what happens at the end."""

import argparse
import logging
import signal
import socket
import threading
from collections.abc import Mapping
from types import FrameType

import msgspec

from mbcasd import __version__
from mbcasd.accounting.controller_metrics import ControllerMetrics, Present
from mbcasd.clock import SystemClock
from mbcasd.kube import access, names
from mbcasd.kube.api import Api
from mbcasd.kube.controlling.controller import ResizeController
from mbcasd.kube.controlling.verdict import Rules
from mbcasd.kube.events import Events
from mbcasd.kube.lease import Elector
from mbcasd.model.decision import RunMode
from mbcasd.roles.collector import calm_the_collector
from mbcasd.roles.settingsfile import SettingsFile
from mbcasd.serving.server import Routes, Server

log = logging.getLogger(__name__)

# How soon a new leader notices that it leads.
TICK_S = 0.2

# The kubelet needs up to a minute to write a changed ConfigMap anyway.
LOOK_AT_SETTINGS_S = 5.0

# A main loop that has not passed for so long is not healthy.
STUCK_AFTER_S = 10.0


class ControllerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What `/status` says."""

    role: str = "controller"
    identity: str
    version: str
    run_mode: str
    taken_wall_s: float
    leads: bool
    holder: str  # who leads, as last seen
    queued: int
    allocations: Mapping[str, int]  # by phase; "" for those that nothing was said about yet
    troubles: tuple[str, ...]


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run until a signal ends it; the leadership is given back when it returns.

    Returns:
        0 after a clean stop, 1 after a bug.

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
    """All parts of `mbcasd controller`."""

    def __init__(self, options: argparse.Namespace, environ: Mapping[str, str], stop: threading.Event) -> None:
        self._options, self._stop = options, stop
        self._clock = SystemClock()
        self._run_mode = RunMode(options.mode)
        self._file = SettingsFile(options.config, environ, "controller", on_refused=self._on_refused_settings)
        self._namespace = options.namespace or environ.get("POD_NAMESPACE") or names.NAMESPACE
        self._identity = options.identity or environ.get("POD_NAME") or socket.gethostname()
        way_in = access.detect(options.kubeconfig, options.context, environ)
        agent = f"mbcasd/{__version__} controller"
        self._api = Api(way_in, clock=self._clock, user_agent=agent)
        # Of its own, so that no crowd of patches and no broken connection of theirs costs the leadership.
        self._election_api = Api(way_in, clock=self._clock, user_agent=f"{agent} election")
        self._elector = Elector(
            self._election_api, self._namespace, names.CONTROLLER, self._identity, clock=self._clock
        )
        self._events = Events(self._api, component=names.CONTROLLER, instance=self._identity, clock=self._clock)
        self._metrics = ControllerMetrics(__version__)
        self._controller = ResizeController(
            self._api, self._elector, self._events, self._metrics, rules=self._rules, clock=self._clock
        )
        self._metrics.present = self._present
        self._passed_at_s = self._clock.now_s()
        self._settings_due_s = self._passed_at_s + LOOK_AT_SETTINGS_S
        self._failed = False

    def on_stop(self, _number: int, _frame: FrameType | None) -> None:
        """SIGTERM, SIGINT: finish the writes in flight and stop."""
        self._stop.set()

    def on_reload(self, _number: int, _frame: FrameType | None) -> None:
        """SIGHUP: look at the settings with the next pass."""
        self._settings_due_s = 0.0

    def on_thread_bug(self, bug: threading.ExceptHookArgs) -> None:
        """A bug in any thread stops the controller: the kubelet starts it again, the other replica takes over."""
        name = bug.thread.name if bug.thread is not None else "a thread"
        trace = (bug.exc_type, bug.exc_value, bug.exc_traceback) if bug.exc_value is not None else None
        log.error("a bug in %s", name, exc_info=trace)
        self._failed = True
        self._stop.set()

    def run(self) -> int:
        """Run to the end and clean up whatever happens."""
        server = Server(
            Routes(metrics=self._metrics.render, status=self._status, healthy=self._healthy, ready=self._ready)
        )
        try:
            if self._options.metrics_address:
                server.listen_tcp(self._options.metrics_address)
            log.info("mbcasd %s controller, %s, as %s", __version__, self._run_mode.value, self._identity)
            self._controller.start()
            calm_the_collector()
            while not self._stop.wait(TICK_S):
                self._pass()
        finally:
            self._controller.stop()
            self._events.stop()
            server.close()
            self._api.close()
            self._election_api.close()
        return 1 if self._failed else 0

    def _pass(self) -> None:
        self._controller.tick()
        now_s = self._clock.now_s()
        if now_s >= self._settings_due_s:
            self._settings_due_s = now_s + LOOK_AT_SETTINGS_S
            if self._file.poll():
                self._controller.look_at_all()
        self._passed_at_s = now_s

    def _rules(self) -> Rules:
        return Rules(resize=self._file.settings.resize, is_enforcing=self._run_mode is RunMode.ENFORCE)

    def _on_refused_settings(self, why: str) -> None:
        self._metrics.count_refused_config()
        self._events.emit(
            {"apiVersion": "v1", "kind": "ConfigMap", "namespace": self._namespace, "name": names.CONFIG_MAP},
            reason="SettingsRefused",
            note=f"{self._identity} goes on with the old settings: {why}",
            action="Reload",
            is_warning=True,
        )

    def _present(self) -> Present:
        controller = self._controller
        return Present(controller.leads, controller.queued, controller.phases(), self._api.counts)

    def _healthy(self) -> tuple[bool, str]:
        stuck_s = self._clock.now_s() - self._passed_at_s
        return stuck_s < STUCK_AFTER_S, f"last pass {stuck_s:.1f} s ago"

    def _ready(self) -> tuple[bool, str]:
        if not self._controller.views.synced:
            return False, "; ".join(self._controller.views.troubles) or "reading PodAllocations, pods and LimitRanges"
        return True, "leading" if self._controller.leads else "following"

    def _status(self) -> bytes:
        election = () if self._elector.trouble is None else (self._elector.trouble,)
        return msgspec.json.encode(
            ControllerSnapshot(
                identity=self._identity,
                version=__version__,
                run_mode=self._run_mode.value,
                taken_wall_s=self._clock.wall_s(),
                leads=self._controller.leads,
                holder=self._elector.holder,
                queued=self._controller.queued,
                allocations=self._controller.phases(),
                troubles=(*self._controller.views.troubles, *election),
            )
        )
