"""`mbcasctl top`: the live screen of one node, or of all nodes of a cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mbcasctl.cluster.options import ContextOption, KubeconfigOption, NamespaceOption
from mbcasctl.session import OutputFormat, OutputOption
from mbcasctl.sources.options import RecordOption, SocketOption, UrlOption
from mbcasctl.views.sorting import Sort

if TYPE_CHECKING:
    from mbcasctl.sources import Source
    from mbcasctl.sources.past import Past
    from mbcasctl.terminal.screen import Screen
    from mbcasctl.views.top import TopState
    from mbcasd.model.snapshot import NodeSnapshot

# Faster than this nobody reads, and the daemon looks at most ten times a second.
_SHORTEST_INTERVAL_S = 0.1

_INTERVAL, _INTERVAL_OF_CLUSTER = "1s", "2s"

# How far back a record is read without --since.
_DEFAULT_WINDOW_S = 600.0

# What `-o wide` prints where there is no terminal to fill.
_WIDE = 200


def top(
    socket: SocketOption = None,
    url: UrlOption = None,
    record: RecordOption = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DURATION", help="How far back left and right go in a record (10m)."),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option("--interval", "-i", metavar="DURATION", help="Time between two pictures (1s; of a cluster 2s)."),
    ] = None,
    sort: Annotated[Sort, typer.Option("--sort", "-s", help="What comes first.")] = Sort.THROTTLED,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="Turn the order round.")] = False,
    filter_words: Annotated[
        str, typer.Option("--filter", "-f", metavar="WORDS", help="Show only rows with all these words in them.")
    ] = "",
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print one picture and end; the default where stdout is no terminal.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Watch a node or a cluster live: who needs how much CPU, and what holds it.

    With --kubeconfig, --context or --namespace it is the cluster; without any option it is this host if a daemon
    runs here, else the cluster of your kubeconfig. Each node's agent is asked through the API server
    (pods/portforward, else pods/proxy); where one is silent, its PodAllocations are shown.

    Keys: s sort, r reverse, / filter, j k or arrows select, e explain, n node, p pause, ? help, q quit.
    """
    from mbcasctl.cluster.options import ClusterOptions
    from mbcasctl.sources import DEFAULT_RECORD, means_cluster, open_cluster, open_source
    from mbcasctl.sources.record import RecordSource
    from mbcasctl.terminal import ansi
    from mbcasctl.views.top import NO_WORKLOAD, NO_WORKLOAD_IN_CLUSTER, TopState
    from mbcasd.errors import ConfigError

    cluster = ClusterOptions(kubeconfig, context, namespace)
    of_cluster = means_cluster(cluster, socket, url, record if since is None else record or DEFAULT_RECORD)
    interval = interval or (_INTERVAL_OF_CLUSTER if of_cluster else _INTERVAL)
    interval_s = _duration_s("--interval", interval)
    if interval_s < _SHORTEST_INTERVAL_S:
        raise ConfigError(f"--interval {interval}: at least {_SHORTEST_INTERVAL_S:g} s")
    window_s = _DEFAULT_WINDOW_S
    if since is not None:
        window_s = _duration_s("--since", since)
        if record is None and (socket is not None or url is not None):
            raise ConfigError("--since looks into a record: name one with --record, without --socket and --url")
        record = record or DEFAULT_RECORD
    source = open_cluster(cluster) if of_cluster else open_source(socket, url, record)
    advice = NO_WORKLOAD_IN_CLUSTER if of_cluster else NO_WORKLOAD
    state = TopState(sort=sort, reverse=reverse, filter=filter_words)
    if once or output is not OutputFormat.TABLE or not ansi.is_interactive():
        _print_once(source.snapshot(), state, output, advice)
    elif isinstance(source, RecordSource):
        _browse(source.past(window_s), state)
    else:
        _watch(source, state, interval_s, advice)


def _duration_s(flag: str, text: str) -> float:
    from mbcasd.errors import ConfigError
    from mbcasd.units import parse_duration_s

    try:
        return parse_duration_s(text)
    except ValueError as err:
        raise ConfigError(f"{flag}: {err}") from err


def _print_once(snapshot: "NodeSnapshot", state: "TopState", output: OutputFormat, advice: tuple[str, ...]) -> None:
    """One picture on stdout, with all its rows."""
    import shutil

    from msgspec.structs import replace

    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.views.top import frame
    from mbcasctl.views.top.state import visible

    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(replace(snapshot, workloads=visible(snapshot, state)), output)
        return
    width = shutil.get_terminal_size((80, 24)).columns
    if output is OutputFormat.WIDE:
        width = max(width, _WIDE)
    out = console()
    out.width = width  # its own may be smaller, and it would cut
    out.print(frame(snapshot, width, None, state, glyphs=ansi.glyphs(), advice=advice))


def _watch(source: "Source", state: "TopState", interval_s: float, advice: tuple[str, ...]) -> None:
    """Show running daemons until the person or a signal ends it."""
    from mbcasctl.sources.poller import Poller
    from mbcasctl.terminal.screen import Screen

    first = source.snapshot()
    with _ending_well(), Screen() as screen, Poller(source, first, interval_s, screen.wake) as poller:
        shown = first

        def picture(state: "TopState") -> "tuple[NodeSnapshot, str]":
            nonlocal shown
            news = poller.news()
            if not state.paused:
                shown = news.snapshot
            return shown, news.trouble

        _interact(screen, picture, state, pictures=0, advice=advice)


def _browse(past: "Past", state: "TopState") -> None:
    """Show a record, picture by picture."""
    from mbcasctl.terminal.screen import Screen

    with _ending_well(), Screen() as screen:
        _interact(screen, lambda state: (past.picture(state.step), ""), state, pictures=past.depth, advice=())


def _interact(
    screen: "Screen",
    picture: Callable[["TopState"], "tuple[NodeSnapshot, str]"],
    state: "TopState",
    *,
    pictures: int,
    advice: tuple[str, ...],
) -> None:
    """Draw, wait for a key or for news, and again.

    Args:
        screen: Where.
        picture: What to show in a state, and what is wrong with where it comes from.
        state: How it begins.
        pictures: How many there are before the last one.
        advice: What to do where there is no workload.
    """
    from rich.console import Console

    from mbcasctl.terminal import ansi
    from mbcasctl.views.top import lines
    from mbcasctl.views.top.keys import press
    from mbcasctl.views.top.state import identity, visible

    console = Console(force_terminal=True, highlight=False, legacy_windows=False)
    glyphs = ansi.glyphs()
    while not state.quit:
        shown, trouble = picture(state)
        width, height = screen.size()
        drawing = lines(shown, width, height, state, trouble=trouble, pictures=pictures, glyphs=glyphs, advice=advice)
        screen.draw(ansi.rendered(console, drawing.lines, width))
        rows = [identity(row) for row in visible(shown, state)]
        # Wakes each second also without news, so that the age of bad news is right.
        for key in screen.keys(1.0):
            if key == "redraw":
                screen.redraw()
            state = press(state, key, rows, page=drawing.page, depth=drawing.depth, pictures=pictures)


@contextmanager
def _ending_well() -> Iterator[None]:
    """Ctrl-C is one way to quit; other signals end the process as they would have, once the terminal is put back."""
    import os
    import signal

    from mbcasctl.terminal.screen import Hangup

    try:
        yield
    except Hangup as end:
        if end.signum != signal.SIGINT:
            signal.signal(end.signum, signal.SIG_DFL)
            os.kill(os.getpid(), end.signum)
