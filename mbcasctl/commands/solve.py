"""`mbcasctl solve`: what a market would give everybody, with the proof; changes nothing."""

from typing import TYPE_CHECKING, Annotated

import typer

from mbcasctl import exits
from mbcasctl.cluster.options import ClusterOptions, ContextOption, KubeconfigOption
from mbcasctl.session import OutputFormat, OutputOption
from mbcasctl.sources.options import SocketOption, UrlOption

if TYPE_CHECKING:
    from mbcasctl.problems import Problems

# What `-o wide` takes, whether or not the terminal has it.
_WIDE_CELLS = 160


def solve(
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="Problem to solve: JSON, YAML or TOML; - for stdin."),
    ] = None,
    from_node: Annotated[
        bool, typer.Option("--from-node", help="Solve the market of a node as its daemon sees it now.")
    ] = False,
    from_cluster: Annotated[
        bool, typer.Option("--from-cluster", help="Solve the market of every node of a cluster, as its agents see it.")
    ] = False,
    socket: SocketOption = None,
    url: UrlOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", metavar="NAME", help="Only nodes that run workloads of this namespace."),
    ] = None,
    dry_run: Annotated[  # noqa: ARG001  this command knows no other way; the flag lets people say so
        bool, typer.Option("--dry-run", help="Change nothing, which is all that this command ever does.")
    ] = True,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show what a market gives everybody, with regime, price and proof.

    Exit code 0: solved; 2: the problem is wrong, and nothing is printed; 3: a proof does not hold.
    """
    from mbcasctl.session import print_data
    from mbcasctl.views import solution
    from mbcasd.allocation.market import clear
    from mbcasd.errors import ConfigError

    cluster = ClusterOptions(kubeconfig, context, namespace)
    asked = _asked_of_cluster(cluster, file, socket, url, from_node=from_node) if from_cluster else None
    if asked is None:
        if cluster.named:
            raise ConfigError(f"{cluster.named[0]} belongs to --from-cluster")
        asked = _asked(file, socket, url, from_node=from_node)
    clearings = [clear(market) for market in asked.markets]
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        solutions = [solution.as_data(clearing) for clearing in clearings]
        for title, answer in zip(asked.titles, solutions, strict=False):
            answer["node"] = title
        print_data({"solutions": solutions} if asked.batch else solutions[0], output)
    else:
        from mbcasctl.session import console
        from mbcasctl.terminal import ansi

        screen, glyphs, wide = console(), ansi.glyphs(), output is OutputFormat.WIDE
        screen.width = max(screen.width, _WIDE_CELLS) if wide else screen.width
        for i, (market, clearing) in enumerate(zip(asked.markets, clearings, strict=True)):
            if asked.batch:
                title = asked.titles[i] if asked.titles else f"problems[{i}]"
                screen.print("" if i == 0 else "\n", title, sep="", style="bold", markup=False)
            screen.print(solution.as_screen(market, clearing, glyphs, width=screen.width, wide=wide))
    if not all(clearing.certificate.holds for clearing in clearings):
        raise typer.Exit(exits.NOT_HEALTHY)


def _asked(file: str | None, socket: str | None, url: str | None, *, from_node: bool) -> "Problems":
    from mbcasctl.problems import Problems, load
    from mbcasd.errors import ConfigError

    if (file is None) is not from_node:
        raise ConfigError("name one problem: -f FILE (- for stdin), --from-node or --from-cluster")
    if file is not None:
        if socket is not None or url is not None:
            raise ConfigError("--socket and --url belong to --from-node")
        return load(file)

    from mbcasctl.sources import open_source
    from mbcasctl.sources.asked import market_of

    return Problems(markets=(market_of(open_source(socket, url).snapshot()),), batch=False)


def _asked_of_cluster(
    cluster: ClusterOptions, file: str | None, socket: str | None, url: str | None, *, from_node: bool
) -> "Problems":
    from mbcasctl.cluster.markets import read_markets
    from mbcasctl.cluster.reach import connect
    from mbcasctl.problems import Problems
    from mbcasctl.session import error_console
    from mbcasd.errors import ConfigError

    others = {"--file": file, "--socket": socket, "--url": url, "--from-node": from_node or None}
    named = [flag for flag, value in others.items() if value is not None]
    if named:
        raise ConfigError(f"--from-cluster and {named[0]} exclude each other: name one problem")
    found = read_markets(connect(cluster), cluster.namespace)
    for note in found.notes:
        error_console().print(f"note: {note}", markup=False)
    titles = tuple(market.node for market in found.markets)
    return Problems(markets=tuple(market.market for market in found.markets), batch=True, titles=titles)
