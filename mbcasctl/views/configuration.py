"""The configuration as people and programs read it."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mbcasd.configfile import aliases
from mbcasd.configfile.keys import (
    KEYS,
    NOT_IN_FORCE_YET,
    ONLY_ON_KUBERNETES,
    ROLE_DEFAULTS,
    SECTIONS,
    WORKLOAD,
    WORKLOAD_KEYS,
    Key,
)
from mbcasd.configfile.loading import DEFAULT, LoadedSettings
from mbcasd.settings import Settings, WorkloadRule

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def written(value: Any) -> str:  # noqa: ANN401
    """A value as the file would say it, without the quotes."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{name} {written(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(str(part) for part in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_data(loaded: LoadedSettings) -> dict[str, Any]:
    """Section → key → value and source; `workload` is a list of the same."""
    data: dict[str, Any] = {section: {} for section in SECTIONS}
    for key in KEYS:
        value = key.kind.show(key.of(loaded.settings))
        data[key.section][key.name] = {"value": value, "source": loaded.sources[key.dotted]}
    data[WORKLOAD] = [
        {
            key.name: {"value": _shown(key, rule), "source": loaded.sources.get(_place(index, key), DEFAULT)}
            for key in WORKLOAD_KEYS
        }
        for index, rule in enumerate(loaded.settings.workloads)
    ]
    return data


def settings_table(loaded: LoadedSettings) -> "Table":
    """One row per setting; what is not at its default stands out."""
    rows = [(key.dotted, key.kind.show(key.of(loaded.settings)), loaded.sources[key.dotted]) for key in KEYS]
    rows += [
        (place, _shown(key, rule), loaded.sources[place])
        for index, rule in enumerate(loaded.settings.workloads)
        for key in WORKLOAD_KEYS
        if (place := _place(index, key)) in loaded.sources
    ]
    table = _table("SETTING", "VALUE", "FROM")
    for name, value, source in rows:
        style = "dim" if source.startswith(DEFAULT) else "bold"
        table.add_row(*_plain(name, written(value), source), style=style)
    return table


def all_keys_table(keys: Sequence[Key]) -> "Table":
    """One row per key: default and purpose."""
    table = _table("SETTING", "DEFAULT", "WHAT IT IS FOR")
    for key in keys:
        table.add_row(*_plain(key.dotted, default_of(key), key.why))
    return table


def explanation(key: Key) -> str:
    """All about one key, in a few lines."""
    flat = ", ".join(aliases.names_of(key.dotted))
    by_role = [
        f"{written(key.kind.show(key.kind.parse(defaults[key.dotted])))} in mbcasd {role}"
        for role, defaults in ROLE_DEFAULTS.items()
        if key.dotted in defaults
    ]
    where = "a [[workload]] entry" if key.section == WORKLOAD else f"[{key.section}]"
    lines = [
        key.dotted,
        textwrap.fill(key.why, 78, initial_indent="  ", subsequent_indent="  "),
        f"  form         {key.kind.form}",
        f"  default      {'; '.join([default_of(key), *by_role])}",
        f"  in the file  {key.name}, in {where}",
    ]
    if key.section != WORKLOAD:
        lines.append(f"  environment  {key.variable}")
    if key.dotted in NOT_IN_FORCE_YET:
        lines.append("  in force     not yet: this version reads it and does nothing with it")
    if key.dotted in ONLY_ON_KUBERNETES:
        lines.append("  in force     on Kubernetes; on a plain host it means nothing")
    if flat:
        lines.append(f"  also as      {flat}")
    return "\n".join(lines)


def default_of(key: Key) -> str:
    """What is in force where nobody says anything."""
    if key.section != WORKLOAD:
        return written(key.kind.show(key.of(Settings())))
    return "required" if key.name == "match" else written(_shown(key, WorkloadRule(match="*")))


def _shown(key: Key, rule: WorkloadRule) -> Any:  # noqa: ANN401
    value = key.read(rule)
    return None if value is None else key.kind.show(value)


def _place(index: int, key: Key) -> str:
    return f"{WORKLOAD}[{index}].{key.name}"


def _plain(*cells: str) -> "list[Text]":
    """Cells as they are: rich would take brackets in a path for markup."""
    from rich.text import Text

    return [Text(cell) for cell in cells]


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    return table
