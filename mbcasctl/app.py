"""The command tree of `mbcasctl`.

Command modules import only typer and the standard library at the top; what they need to work they import
inside the function, so that `--help` stays quick (docs of typer: rich help costs another 75 ms).
"""

import typer

from mbcasctl.commands import (
    completion,
    config,
    demo,
    doctor,
    explain,
    inspect,
    install,
    loadtest,
    restore,
    solve,
    status,
    top,
    uninstall,
    upgrade,
    verify,
)

app = typer.Typer(
    help="MBCAS: a market for CPU on Linux nodes. Watch it, understand it, prove it, then switch it on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,  # `mbcasctl completion` prints the scripts and writes nowhere
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("solve")(solve.solve)
app.command("completion")(completion.completion)
app.command("top")(top.top)
app.command("doctor")(doctor.doctor)
app.command("inspect")(inspect.inspect)
app.command("status")(status.status)
app.command("verify")(verify.verify)
app.command("restore")(restore.restore)
app.command("explain")(explain.explain)
app.add_typer(config.app, name="config")
app.command("demo")(demo.demo)
app.command("install")(install.install)
app.command("upgrade")(upgrade.upgrade)
app.command("uninstall")(uninstall.uninstall)
app.add_typer(loadtest.app, name="loadtest", help="Compare fixed limits, generous limits and MBCAS under load.")
