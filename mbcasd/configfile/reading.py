"""Text of a configuration file → entries, each with its name, its raw value and where it stands.

Two forms: TOML with sections, and the flat `key: value` lines that a ConfigMap may carry. Names are not judged here.
"""

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mbcasd.configfile.keys import WORKLOAD
from mbcasd.configfile.lines import key_lines, line_of
from mbcasd.errors import ConfigError

# A configuration is a page or two; this is only a guard against a wrong path such as /dev/zero.
MAX_BYTES = 1 << 20

_FLAT_LINE = re.compile(r"([A-Za-z][\w.-]*)[ \t]*:(?:[ \t]+(.*))?")
_FLAT_VALUE = re.compile(r"""("(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>.*?))(?:[ \t]+#.*)?[ \t]*""")
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One value that was written down somewhere."""

    name: str  # `market.overcommit`, or a name without a section
    value: object
    source: str  # `mbcasd.toml, line 7`
    rule: int | None = None  # which `[[workload]]` entry it belongs to


def read_text(path: str) -> str:
    """Read the file.

    Raises:
        ConfigError: It cannot be read or is no text; the message says what to do.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs the daemon memory
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `mbcasctl config init {path}` writes one") from None
    except (OSError, ValueError) as err:  # ValueError: a NUL in the path
        raise ConfigError(f"{path}: cannot be read: {getattr(err, 'strerror', None) or err}") from err
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: more than {MAX_BYTES >> 20} MiB; that is no configuration file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw.count(b"\n", 0, err.start) + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8 text") from err


def entries(text: str, path: str) -> list[Entry]:
    """All entries of a file's text, in either form.

    Raises:
        ConfigError: It has no form at all; names the line.
    """
    text = text.replace("\r\n", "\n")
    return list(_flat_entries(text, path) if _is_flat(text) else _toml_entries(text, path))


def _is_flat(text: str) -> bool:
    """Whether the first line that says anything is `key: value`, which TOML never is."""
    for line in text.splitlines():
        said = line.strip()
        if said and said != "---" and not said.startswith("#"):
            return _FLAT_LINE.fullmatch(said) is not None
    return False


def _flat_entries(text: str, path: str) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), start=1):
        said = line.strip()
        if not said or said == "---" or said.startswith("#"):
            continue
        source = f"{path}, line {number}"
        match = _FLAT_LINE.fullmatch(said)
        value = _FLAT_VALUE.fullmatch(match[2] or "") if match else None
        if match is None or value is None or not match[2] or match[2].startswith("#"):
            raise ConfigError(f"{source}: not of the form `key: value`; sections are written in TOML, as [market]")
        yield Entry(name=match[1], value=value["double"] or value["single"] or value["plain"] or "", source=source)


def _toml_entries(text: str, path: str) -> Iterator[Entry]:
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply; a setting is a number, a text or a short list") from None
    except ValueError as err:  # TOMLDecodeError, and integers with too many digits
        raise ConfigError(_toml_complaint(str(err), text, path)) from err
    found = key_lines(text)

    def source(*at: str | int) -> str:
        return f"{path}, line {line}" if (line := line_of(at, found)) else path

    for name, value in document.items():
        if name == WORKLOAD:
            yield from _rules(value, source)
        elif isinstance(value, dict):
            if not value:
                yield Entry(name=name, value=value, source=source(name))
            for key, inner in value.items():
                yield Entry(name=f"{name}.{key}", value=inner, source=source(name, key))
        else:
            yield Entry(name=name, value=value, source=source(name))


def _rules(value: object, source: Callable[..., str]) -> Iterator[Entry]:
    """The entries of `[[workload]]`, or one that stands for something else of that name."""
    rules = value if isinstance(value, list) else [value]
    for index, rule in enumerate(rules):
        if not isinstance(rule, dict) or rules is not value:
            raise ConfigError(f"{source(WORKLOAD)}: workload is a list: write each entry under its own [[workload]]")
        for key, inner in rule.items():
            yield Entry(name=f"{WORKLOAD}.{key}", value=inner, source=source(WORKLOAD, index, key), rule=index)
        if "match" not in rule:
            raise ConfigError(
                f"{source(WORKLOAD, index)}: this [[workload]] has no match; name the workloads it is for"
            )


def _toml_complaint(message: str, text: str, path: str) -> str:
    """The parser's words with the line where people look for it."""
    place = _TOML_PLACE.search(message)
    if place is None:
        return f"{path}: {message}"
    line = place[1] or text.count("\n") + 1
    return f"{path}, line {line}: {message[: place.start()]}"
