"""`mbcasctl explain`: why one workload has the limit it has."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mbcasctl.cluster.options import ClusterOptions, ContextOption, KubeconfigOption, NamespaceOption
from mbcasctl.session import OutputFormat, OutputOption
from mbcasctl.sources import DEFAULT_RECORD
from mbcasctl.sources.names import complete_workload
from mbcasctl.sources.options import RecordOption, SocketOption, UrlOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mbcasctl.explaining.counterfactual import Counterfactual, Policy
    from mbcasctl.explaining.explanation import Explanation
    from mbcasd.accounting.reading import History, RecordReader
    from mbcasd.model.identity import WorkloadId
    from mbcasd.model.snapshot import NodeSnapshot
    from mbcasd.settings import Settings

_DEFAULT_POLICIES = "static,vpa,captain,usage"


class _Background(NamedTuple):
    """What a record adds to a snapshot."""

    history: "History | None" = None
    settings: "Settings | None" = None
    without: "Sequence[Counterfactual]" = ()
    replayed_s: float = 0.0
    missing: tuple[str, ...] = ()


def explain(
    workload: Annotated[
        str,
        typer.Argument(
            metavar="WORKLOAD",
            help="namespace/name, an end of it (worker-b), or a glob.",
            autocompletion=complete_workload,
        ),
    ],
    socket: SocketOption = None,
    url: UrlOption = None,
    record: RecordOption = None,
    versus: Annotated[
        str,
        typer.Option(
            "--vs", metavar="POLICIES", help="What else to compare with: static, vpa, captain, usage, tobit, reflex."
        ),
    ] = _DEFAULT_POLICIES,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="How much of the past to compare over.")
    ] = "10m",
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say why a workload has this limit: what was seen, estimated, asked, given and done.

    On a cluster (with --kubeconfig, --context or --namespace, or without any option where no daemon runs on this host
    and you have a kubeconfig) WORKLOAD is a pod or pod:container: its agent is asked, and its PodAllocation and
    events are told.

    On a host, asks the daemon and its record; --record FILE explains from a record alone, or with --socket or --url
    names the record of that daemon. What other policies would have led to is played over the recorded use.
    """
    from mbcasctl.explaining import explanation, names
    from mbcasctl.sources import means_cluster, open_source
    from mbcasd.accounting.reading import RecordReader
    from mbcasd.model.identity import WorkloadId

    policies, since_s = _policies(versus), _duration_s(since)
    cluster = ClusterOptions(kubeconfig, context, namespace)
    if means_cluster(cluster, socket, url, record):
        _on_cluster(workload, cluster, output)
        return
    live = socket is not None or url is not None
    source = open_source(socket, url, None if live else record)
    snapshot = source.snapshot()
    known = [WorkloadId(row.namespace, row.name, row.container) for row in snapshot.workloads]
    if record is not None:
        with RecordReader(record) as reader:
            if not live:
                known += [recorded.workload for recorded in reader.workloads()]
            who = names.find(workload, known, source.place)
            background = _background(reader, who, snapshot, policies, since_s)
    else:
        who = names.find(workload, known, f"the daemon on {source.place}")
        background = _background_of_daemon(who, snapshot, policies, since_s, remote=url is not None)
    found = explanation.explain(
        snapshot,
        who,
        place=source.place,
        history=background.history,
        settings=background.settings,
        without=background.without,
        replayed_s=background.replayed_s,
        missing=background.missing,
    )
    _print(found, output)


def _on_cluster(workload: str, options: ClusterOptions, output: OutputFormat) -> None:
    import shutil

    from mbcasctl.cluster.explaining import explain_on
    from mbcasctl.cluster.reach import connect
    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.views import cluster_explain as view

    found = explain_on(connect(options), workload, options.namespace)
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(view.as_data(found), output)
        return
    width = shutil.get_terminal_size((80, 24)).columns if output is OutputFormat.TABLE else 200
    console().print(view.as_text(found, width, ansi.glyphs()), soft_wrap=True)


def _print(found: "Explanation", output: OutputFormat) -> None:
    import shutil

    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.views import explain as view

    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(view.as_data(found), output)
        return
    width = shutil.get_terminal_size((80, 24)).columns if output is OutputFormat.TABLE else 200
    console().print(view.as_text(found, width, ansi.glyphs()), soft_wrap=True)


def _policies(text: str) -> "list[Policy]":
    from mbcasctl.explaining.counterfactual import Policy
    from mbcasd.errors import ConfigError

    chosen = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        try:
            chosen.append(Policy(name))
        except ValueError as err:
            raise ConfigError(f"--vs: {name!r} is no policy; there are {', '.join(Policy)}") from err
    return list(dict.fromkeys(chosen))


def _duration_s(text: str) -> float:
    from mbcasd.errors import ConfigError
    from mbcasd.units import parse_duration_s

    try:
        return parse_duration_s(text)
    except ValueError as err:
        raise ConfigError(f"--since: {err}") from err


def _background_of_daemon(
    who: "WorkloadId", snapshot: "NodeSnapshot", policies: "Sequence[Policy]", since_s: float, *, remote: bool
) -> _Background:
    """What the record at its usual place knows, if that is this daemon's; a missing one is no error."""
    from mbcasd.accounting.reading import RecordReader
    from mbcasd.errors import MbcasError

    needs = "how the last clearing came about, and what other policies would have led to"
    if remote:
        return _Background(missing=(f"{needs}: its record is on the other host; there, use --record FILE",))
    try:
        with RecordReader(DEFAULT_RECORD) as reader:
            runs = reader.runs()
            if not runs or abs(runs[-1].started_wall_s - snapshot.started_wall_s) > 60:
                return _Background(
                    missing=(f"{needs}: {DEFAULT_RECORD} is not this daemon's; name its record with --record FILE",)
                )
            return _background(reader, who, snapshot, policies, since_s)
    except MbcasError as err:
        return _Background(missing=(f"{needs} ({err}); name the daemon's record with --record FILE",))


def _background(
    reader: "RecordReader",
    who: "WorkloadId",
    snapshot: "NodeSnapshot",
    policies: "Sequence[Policy]",
    since_s: float,
) -> _Background:
    import msgspec

    from mbcasctl.explaining import counterfactual
    from mbcasd.errors import ConfigError
    from mbcasd.settings import DemandSettings, Settings

    try:
        history = reader.history(who)
    except ConfigError as err:
        return _Background(missing=(str(err),))
    missing = []
    try:
        settings = msgspec.json.decode(reader.runs()[-1].settings_json, type=Settings)
    except (msgspec.DecodeError, IndexError):
        settings = None
        missing.append("the daemon's settings: another version recorded them")
    if history.receipt is None:
        missing.append("how the market was cleared: the record has no receipt with it yet")
    contract = history.workload.contract
    recorded = counterfactual.intervals(found.value for found in reader.samples(who, snapshot.taken_wall_s - since_s))
    if contract is None or not recorded:
        missing.append("what other policies would have led to: the record has no samples of it in this time")
        return _Background(history, settings, missing=tuple(missing))
    setting = counterfactual.Setting(
        contract=contract,
        cpus=max(1, round(snapshot.cpu_milli / 1000)),
        period_s=history.limit.value.period_usec / 1e6 if history.limit else 0.1,
        demand=settings.demand if settings else DemandSettings(),
    )
    without = counterfactual.compare(policies, recorded, setting)
    return _Background(history, settings, without, sum(interval.elapsed_s for interval in recorded), tuple(missing))
