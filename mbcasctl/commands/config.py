"""`mbcasctl config`: write, show, check and explain the configuration."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write, show, check and explain the configuration.", no_args_is_help=True, rich_markup_mode=None)


class ShowFormat(StrEnum):
    """How the settings in force are printed."""

    TABLE = "table"
    TOML = "toml"
    JSON = "json"
    YAML = "yaml"


def complete_key(incomplete: str) -> list[tuple[str, str]]:
    """The settings that begin like this, with what they do."""
    from mbcasd.configfile.keys import BY_DOTTED

    return [(dotted, key.why) for dotted, key in BY_DOTTED.items() if dotted.startswith(incomplete)]


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write; - is stdout.", show_default=True)] = Path("mbcasd.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a file with every setting, its default and what it is for."""
    from mbcasd.configfile import writing
    from mbcasd.errors import ConfigError

    text = writing.default_text()
    if str(path) == "-":
        typer.echo(text, nl=False)
        return
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists and is left as it is; --force overwrites it") from None
    except OSError as err:
        raise ConfigError(f"{path} cannot be written: {err.strerror}; name another place") from err
    typer.echo(f"Written: {path}. Change what you like, then: mbcasctl config validate {path}", err=True)


@app.command()
def show(
    config: Annotated[str | None, typer.Option("--config", help="The configuration file.", metavar="FILE")] = None,
    output: Annotated[ShowFormat, typer.Option("-o", "--output", help="How to print it.")] = ShowFormat.TABLE,
) -> None:
    """Show what is in force, and whether file, environment or default says so."""
    import os

    from mbcasctl.session import OutputFormat, console, print_data
    from mbcasctl.views import configuration
    from mbcasd import configfile

    loaded = configfile.load(config, os.environ, {})
    match output:
        case ShowFormat.TABLE:
            console().print(configuration.settings_table(loaded))
        case ShowFormat.TOML:
            from mbcasd.configfile import writing

            typer.echo(writing.text_in_force(loaded), nl=False)
        case ShowFormat.JSON | ShowFormat.YAML:
            print_data(configuration.settings_data(loaded), OutputFormat(output.value))


@app.command()
def validate(
    files: Annotated[list[str], typer.Argument(help="Configuration files.", metavar="FILE...", show_default=False)],
) -> None:
    """Check files as a whole; every problem gets one line, and the exit code is 2."""
    from mbcasctl import exits
    from mbcasd import configfile
    from mbcasd.errors import ConfigError

    bad = False
    for path in files:
        try:
            loaded = configfile.load(path, {}, {})
        except ConfigError as err:
            bad = True
            typer.echo(str(err), err=True)
        else:
            typer.echo(f"{path}: valid")
            for note in loaded.without_effect():
                typer.echo(f"note: {note}", err=True)
    if bad:
        raise typer.Exit(exits.BAD_INPUT)


@app.command()
def explain(
    key: Annotated[
        str | None,
        typer.Argument(
            help="A setting, such as market.overcommit; a section; nothing for all.",
            autocompletion=complete_key,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say what a setting means: form, default, reason, and where else it can be set."""
    from mbcasctl.session import console
    from mbcasctl.views import configuration
    from mbcasd.configfile import aliases, judging
    from mbcasd.configfile.keys import BY_DOTTED, SECTIONS, WORKLOAD
    from mbcasd.errors import ConfigError

    alias = aliases.find(key) if key else None
    if key is None:
        console().print(configuration.all_keys_table(tuple(BY_DOTTED.values())))
    elif key in (*SECTIONS, WORKLOAD):
        console().print(configuration.all_keys_table(tuple(k for k in BY_DOTTED.values() if k.section == key)))
    elif alias or key in BY_DOTTED:
        for dotted in alias.keys if alias else (key,):
            typer.echo(configuration.explanation(BY_DOTTED[dotted]))
    else:
        raise ConfigError(judging.unknown(key))
