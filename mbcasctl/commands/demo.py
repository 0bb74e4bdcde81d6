"""`mbcasctl demo`: the newcomer's minute. The same load twice, with fixed limits and with MBCAS."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mbcasctl import exits
from mbcasctl.session import console, error_console


def demo(
    seconds: Annotated[int, typer.Option(help="How long it may take, all in all.", min=10, max=3600)] = 60,
    keep_record: Annotated[
        Path | None,
        typer.Option(help="Where to keep the daemon's record.  [default: ~/.local/state/mbcas/demo-record.db]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same load.")] = 1,
) -> None:
    """Show what MBCAS does, on this machine, in about a minute.

    Starts a gateway, two workers and two noise burners in cgroups of their own and sends them the same load twice:
    first with fixed limits, then with `mbcasd local` moving the limits. Compares, and removes every trace.
    Needs the right to make cgroups, and says how to get it.
    """
    from mbcasctl.loadtest import phases, results
    from mbcasctl.loadtest.conduct import Traces, capacity_milli, choose_cpus, conduct
    from mbcasctl.loadtest.experiment import Plan
    from mbcasctl.loadtest.interrupt import Interrupted, raised_once
    from mbcasctl.loadtest.schedule import plan
    from mbcasctl.loadtest.show import Show
    from mbcasctl.loadtest.workloads import Regime
    from mbcasctl.views import loadtest_report

    record = keep_record or _default_record(os.environ)
    if keep_record is None:
        results.make_folder(record.parent)
    results.check_writable(record)
    cpus = choose_cpus()
    rates = phases.default_rate_scale(len(cpus))
    schedule = plan(phases.for_demo(seconds, rate_scale=rates), seed=seed)
    say = error_console()
    say.print(
        f"MBCAS demo: about {seconds} s, {len(cpus)} CPU{'s' if len(cpus) > 1 else ''}, five services in cgroups of"
        " their own.\nA gateway asks worker-a (30 ms of CPU) and worker-b (15 ms, now and then 60 ms),\n"
        "two noise burners take what they get. First fixed limits, then MBCAS, same load.\n"
    )
    traces = Traces()
    try:
        with raised_once(), Show(len(cpus)) as show:
            result = conduct(
                Plan(
                    regimes=(Regime.FIXED, Regime.MBCAS),
                    schedule=schedule,
                    cpus=cpus,
                    time_scale=schedule.duration_s / phases.total_s(phases.PHASES),
                    rate_scale=rates,
                    drain_s=phases.DEMO_DRAIN_S,
                    daemon_capacity_milli=capacity_milli(cpus),
                    keep_record=record,
                ),
                show,
                traces,
                command="mbcasctl demo",
            )
    except Interrupted as ended:
        say.print(f"Stopped by {ended}: {traces.cgroups_removed} cgroups removed, everything is as it was before.")
        raise typer.Exit(ended.exit_code) from None
    fixed, mbcas = result.regimes
    out = console()
    out.print(f"Same {schedule.duration_s:.0f} s of load, twice, on this machine (real cgroups, real processes):\n")
    for line in loadtest_report.comparison(fixed, mbcas):
        out.print(line)
    disturbed = loadtest_report.disturbance(result.regimes, result.cpus)
    if disturbed is not None:
        out.print()
        out.print(disturbed)
    restored = mbcas.limits_restored
    out.print(
        f"\n{'Everything is as it was before' if restored else 'NOT all limits came back by themselves'}: "
        f"{traces.cgroups_removed} cgroups removed, 0 limits changed."
    )
    out.print(
        f"Kept: {_short(record)}\n"
        f"Next: mbcasctl explain worker-b --record {_short(record)}\n"
        f"      mbcasctl verify --record {_short(record)}\n"
        '      README, "On your own host"'
    )
    if not restored:
        raise typer.Exit(exits.NOT_HEALTHY)


def _default_record(environ: "os._Environ[str]") -> Path:
    """Where programs keep what outlives them but nobody would back up (XDG Base Directory Specification)."""
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "mbcas" / "demo-record.db"


def _short(file: Path) -> str:
    """A path as a person would type it, quoted for the shell where it must be."""
    import shlex

    home = Path.home()
    if file.is_relative_to(home):
        return f"~/{shlex.quote(str(file.relative_to(home)))}"
    return shlex.quote(str(file))
