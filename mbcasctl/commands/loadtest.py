"""`mbcasctl loadtest run|report`: real workloads under fixed limits, generous limits and MBCAS."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mbcasctl import exits
from mbcasctl.session import OutputFormat, OutputOption, console, error_console, print_data

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


class Limits(StrEnum):
    """Whose limits are in force."""

    FIXED = "fixed"
    GENEROUS = "generous"
    MBCAS = "mbcas"
    ALL = "all"


class Spacing(StrEnum):
    """How requests are spaced."""

    POISSON = "poisson"
    UNIFORM = "uniform"


class DaemonMode(StrEnum):
    """What `mbcasd local` may do."""

    OBSERVE = "observe"
    RECOMMEND = "recommend"
    ENFORCE = "enforce"


@app.command()
def run(
    limits: Annotated[Limits, typer.Option(help="The limits to test; `all` runs one regime after the other.")] = (
        Limits.ALL
    ),
    scale: Annotated[
        float, typer.Option(help="Shorten the phases: 1 takes 15 minutes per regime, 0.1 one and a half.", min=0.001)
    ] = 1.0,
    rate_scale: Annotated[
        float | None,
        typer.Option(
            help="Share of the full rates (10, 50 and 100 rps).  [default: 0.07 per CPU, at most 1: two CPUs get 0.14]",
            min=0.001,
            max=10,
        ),
    ] = None,
    phases: Annotated[
        str, typer.Option(help="Some of warm-up,saturation,contention,bursty, separated by commas; default all.")
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed draws the same arrivals and spikes.")] = 1,
    arrivals: Annotated[Spacing, typer.Option(help="Independent users, or an even beat.")] = Spacing.POISSON,
    mode: Annotated[DaemonMode, typer.Option(help="Mode of `mbcasd local` under MBCAS.")] = DaemonMode.ENFORCE,
    out: Annotated[Path | None, typer.Option(help="Write the result here, for `loadtest report`.")] = None,
    keep_record: Annotated[Path | None, typer.Option(help="Keep the daemon's record here, for `explain`.")] = None,
    parent: Annotated[
        str | None, typer.Option(help="Cgroup to make the test's cgroups in.  [default: the top, or this user's own]")
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Drive warm-up, saturation, contention and bursty load against real services in real cgroups.

    A gateway asks worker-a (30 ms of CPU) and worker-b (15 ms, every fifth request 60 ms) beside two noise burners.
    The loop is open: a service that stalls does not slow the load down, and waits count from the intended start.
    Needs the right to make cgroups. Everything is removed at the end, also after Ctrl-C.
    """
    from mbcasctl.loadtest import phases as pattern
    from mbcasctl.loadtest import results
    from mbcasctl.loadtest.conduct import Traces, capacity_milli, choose_cpus, conduct
    from mbcasctl.loadtest.experiment import Plan
    from mbcasctl.loadtest.interrupt import Interrupted, raised_once
    from mbcasctl.loadtest.schedule import Arrivals, plan
    from mbcasctl.loadtest.show import Show
    from mbcasctl.loadtest.workloads import Regime
    from mbcasd.errors import ConfigError
    from mbcasd.units import format_duration

    cpus = choose_cpus()
    for flag, value in (("--scale", scale), ("--rate-scale", rate_scale)):
        if value is not None and not math.isfinite(value):
            raise ConfigError(f"{flag}: {value} is no factor; 0.1 is a tenth")
    rates = pattern.default_rate_scale(len(cpus)) if rate_scale is None else rate_scale
    chosen = pattern.select([name.strip() for name in phases.split(",") if name.strip()])
    schedule = plan(
        [phase.scaled(time_scale=scale, rate_scale=rates) for phase in chosen], seed=seed, arrivals=Arrivals(arrivals)
    )
    for file in (out, keep_record):
        if file is not None:
            results.check_writable(file)
    regimes = tuple(Regime) if limits is Limits.ALL else (Regime(limits),)
    say = error_console()
    each = format_duration(round(schedule.duration_s, 1))
    say.print(
        f"Load test on {len(cpus)} CPUs: {len(schedule.offsets_s)} requests in {each}, "
        f"under {', '.join(regime.value for regime in regimes)}"
    )
    traces = Traces()
    try:
        with raised_once(), Show(len(cpus)) as show:
            result = conduct(
                Plan(
                    regimes=regimes,
                    schedule=schedule,
                    cpus=cpus,
                    time_scale=scale,
                    rate_scale=rates,
                    drain_s=10.0,
                    daemon_mode=mode.value,
                    daemon_capacity_milli=capacity_milli(cpus),
                    keep_record=keep_record,
                ),
                show,
                traces,
                command="mbcasctl loadtest run",
                base=parent,
            )
    except Interrupted as ended:
        say.print(f"Stopped by {ended}; {traces.cgroups_removed} cgroups removed, nothing else was changed.")
        raise typer.Exit(ended.exit_code) from None
    if out is not None:
        results.save(result, out)
    _print(result, output)
    say.print(f"\n{traces.cgroups_removed} cgroups removed." + ("" if out is None else f" The result is in {out}"))
    if any(regime.limits_restored is False for regime in result.regimes):
        raise typer.Exit(exits.NOT_HEALTHY)


@app.command()
def report(
    file: Annotated[Path, typer.Argument(help="What `loadtest run --out` wrote.")],
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Compare the regimes of a load test, phase by phase."""
    from mbcasctl.loadtest import results

    _print(results.load(file), output)


@app.command(
    hidden=True, add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def serve(context: typer.Context) -> None:
    """Run one of the test's services: the single binary calls itself by this name."""
    from mbcasctl.loadtest import service

    service.main(context.args)


@app.command(
    hidden=True, add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def send(context: typer.Context) -> None:
    """Run the load generator: the single binary calls itself by this name."""
    from mbcasctl.loadtest import traffic

    traffic.main(context.args)


def _print(result: "object", output: OutputFormat) -> None:
    from mbcasctl.loadtest.results import LoadtestResult
    from mbcasctl.views import loadtest_report

    assert isinstance(result, LoadtestResult)  # noqa: S101 - for the type checker: the import above is late
    if output in {OutputFormat.JSON, OutputFormat.YAML}:
        print_data(result, output)
        return
    for line in loadtest_report.report(result):
        console().print(line)
