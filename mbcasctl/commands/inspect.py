"""`mbcasctl inspect`: what the cgroups of this node use and would use, read from the kernel, without a daemon."""

from typing import TYPE_CHECKING, Annotated

import typer

from mbcasctl.session import OutputFormat, OutputOption
from mbcasctl.survey.sorting import SurveySort

if TYPE_CHECKING:
    from collections.abc import Callable

    from mbcasctl.survey.values import Survey

_QUIT = {"q", "Q"}

# Less than one sample is no window; more than this, and `--watch` or a daemon is what is wanted.
_SHORTEST_S, _LONGEST_S = 0.1, 600.0


def inspect(
    cgroup: Annotated[
        list[str] | None,
        typer.Option(
            "--cgroup",
            "-c",
            metavar="PATH",
            help="Look at the children of this cgroup, or at itself if it has none; repeatable. "
            "Default: the kubelet's containers, else /machine.slice and /system.slice, else the root's children.",
        ),
    ] = None,
    pod: Annotated[
        str | None, typer.Option("--pod", metavar="NAME", help="Only pods with this name or UID; may be a glob.")
    ] = None,
    container: Annotated[
        str | None,
        typer.Option("--container", metavar="NAME", help="Only containers, or cgroups, of this name; may be a glob."),
    ] = None,
    window: Annotated[str, typer.Option("--window", "-w", help="How long to look: 1s, 500ms, 15s.")] = "1s",
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    sort: Annotated[SurveySort, typer.Option("--sort", "-s", help="What comes first.")] = SurveySort.USAGE,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Look at the cgroups of this node: use, limit, throttling, and what they wait for. Works without a daemon.

    THROT is the share of periods that were throttled, WAITS the share of time in which some task waited for a CPU,
    l/n/s why: its own limit, its neighbours, more threads of its own than CPUs (in percent).
    """
    from mbcasd.errors import ConfigError
    from mbcasd.sensing.tree import CgroupTree
    from mbcasd.units import parse_duration_s

    try:
        window_s = parse_duration_s(window)
    except ValueError as err:
        raise ConfigError(f"--window: {err}") from err
    if not _SHORTEST_S <= window_s <= _LONGEST_S:
        raise ConfigError(f"--window {window}: from {_SHORTEST_S * 1000:g}ms to {_LONGEST_S / 60:g}m")
    tree = CgroupTree.detect()

    def look(sleep: "Callable[[float], None]") -> "Survey":
        from dataclasses import replace

        from mbcasctl.survey import reading, targets
        from mbcasctl.survey.sorting import ordered
        from mbcasd.clock import SystemClock

        found = targets.find(tree, cgroup or (), pod=pod, container=container)
        survey = reading.take(tree, found, window_s, SystemClock(), sleep)
        return replace(survey, rows=ordered(survey.rows, sort))

    if watch:
        _watch(look, output)
    else:
        import time

        _print(look(time.sleep), output)


def _print(survey: "Survey", output: OutputFormat) -> None:
    """One survey on stdout."""
    import shutil

    from mbcasctl.session import console, print_data
    from mbcasctl.terminal import ansi
    from mbcasctl.views.inspect import lines

    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(survey, output)
        return
    width = shutil.get_terminal_size((80, 24)).columns
    drawn = lines(survey, width, wide=output is OutputFormat.WIDE, glyphs=ansi.glyphs())
    out = console()
    for line in drawn:
        out.print(line, soft_wrap=True)


def _watch(look: "Callable[[Callable[[float], None]], Survey]", output: OutputFormat) -> None:
    """Surveys without end: on a terminal each in place of the last one, else one after the other."""
    import time

    from mbcasctl.session import stop_without_reader
    from mbcasctl.terminal import ansi

    if output is OutputFormat.TABLE and ansi.is_interactive():
        _watch_on_screen(look)
        return
    try:
        while True:
            survey = look(time.sleep)
            if output is OutputFormat.JSON:
                import msgspec

                # One line each, so that another program can take them one by one.
                print(msgspec.json.encode(survey).decode(), flush=True)  # noqa: T201
            else:
                _print(survey, output)
                print("---" if output is OutputFormat.YAML else "", flush=True)  # noqa: T201
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        stop_without_reader()


def _watch_on_screen(look: "Callable[[Callable[[float], None]], Survey]") -> None:
    """Draw over the last picture until q or Ctrl-C."""
    import signal
    import time

    from rich.console import Console

    from mbcasctl.terminal import ansi
    from mbcasctl.terminal.screen import Hangup, Screen
    from mbcasctl.views.inspect import screenful

    console = Console(force_terminal=True, highlight=False, legacy_windows=False)
    glyphs = ansi.glyphs()
    pressed: set[str] = set()
    try:
        with Screen() as screen:

            def sleep(seconds: float) -> None:
                ends_s = time.monotonic() + seconds
                while (left_s := ends_s - time.monotonic()) > 0 and not pressed & _QUIT:
                    pressed.update(screen.keys(left_s))

            survey = None
            while not pressed & _QUIT:
                width, height = screen.size()
                screen.draw(ansi.rendered(console, screenful(survey, width, height, glyphs), width))
                survey = look(sleep)
    except Hangup as end:
        if end.signum != signal.SIGINT:
            raise SystemExit(128 + end.signum) from None
