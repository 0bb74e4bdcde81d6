"""Files that people write, as plain data: JSON, YAML or TOML, read strictly.

Strictly means that what a reader could misunderstand is refused instead of guessed: a key that stands twice, NaN,
something after the end. Every refusal names the place.
"""

import json
import re
import sys
from collections.abc import Hashable
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

from mbcasd.errors import BadProblem

# A thousand agents are 100 KB; a file of more than this was not meant.
_MOST_BYTES = 64 * 1024 * 1024
_TOML_BEGINS = re.compile(r"""\[|[\w."'-]+(\s*\.\s*[\w"'-]+)*\s*=""")
# YAML 1.1 takes 1e3 for text; nobody means that.
_YAML_FLOAT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")


class Form(Enum):
    """How a document is written."""

    JSON = "JSON"
    YAML = "YAML"
    TOML = "TOML"


def read(path: str) -> Any:  # noqa: ANN401
    """Read one document of plain data.

    Args:
        path: A file; `-` is standard input. The extension says how it is written (.json, .yaml, .yml, .toml),
            without a known one its first line does.

    Returns:
        Dicts, lists, text, numbers, truth values, dates, None. Numbers may still be infinite or NaN where YAML
        and TOML have words for it.

    Raises:
        BadProblem: It cannot be read, is no text, or is not well-formed; the message says where and why.
    """
    place = "standard input" if path == "-" else path
    text = _text(path, place)
    form = _form_by_extension(path) or form_by_content(text)
    return parse(text, form, place)


def parse(text: str, form: Form, place: str) -> Any:  # noqa: ANN401
    """Turn text into plain data; see `read`. `place` is named in refusals."""
    if not text.strip():
        raise BadProblem(f"{place}: it is empty")
    try:
        match form:
            case Form.JSON:
                return _parse_json(text, place)
            case Form.YAML:
                return _parse_yaml(text, place)
            case Form.TOML:
                return _parse_toml(text, place)
    except RecursionError:
        raise BadProblem(f"{place}: it is nested too deeply") from None


def form_by_content(text: str) -> Form:
    """Guess how a document is written from the first line that says something."""
    for line in text.splitlines():
        words = line.strip()
        if words and not words.startswith("#"):
            # No problem is a list at its top, so a bracket opens a table.
            return Form.JSON if words[0] == "{" else Form.TOML if _TOML_BEGINS.match(words) else Form.YAML
    return Form.YAML


def _form_by_extension(path: str) -> Form | None:
    extensions = {".json": Form.JSON, ".yaml": Form.YAML, ".yml": Form.YAML, ".toml": Form.TOML}
    return extensions.get(Path(path).suffix.lower())


def _text(path: str, place: str) -> str:
    try:
        if path == "-":
            written = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                written = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise BadProblem(f"{place}: there is no such file") from None
    except IsADirectoryError:
        raise BadProblem(f"{place}: it is a directory; name a file in it") from None
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
        raise BadProblem(f"{place}: it cannot be read ({reason})") from err
    if len(written) > _MOST_BYTES:
        raise BadProblem(f"{place}: it is larger than {_MOST_BYTES // 1024 // 1024} MiB")
    try:
        return written.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise BadProblem(f"{place}: it is not text in UTF-8 (byte {err.start})") from None


def _parse_json(text: str, place: str) -> Any:  # noqa: ANN401
    def only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise BadProblem(f'{place}: the key "{twice}" stands twice in one object')
        return found

    def no_number(word: str) -> NoReturn:
        raise BadProblem(f"{place}: {word} is no number in JSON")

    try:
        return json.loads(text, object_pairs_hook=only_once, parse_constant=no_number)
    except json.JSONDecodeError as err:
        raise BadProblem(f"{place}, line {err.lineno}, column {err.colno}: not JSON: {err.msg}") from None
    except ValueError as err:  # an integer of thousands of digits
        raise BadProblem(f"{place}: {err}") from None


def _parse_toml(text: str, place: str) -> Any:  # noqa: ANN401
    import tomllib

    try:
        return tomllib.loads(text)
    except ValueError as err:
        raise BadProblem(f"{place}: not TOML: {err}") from None


def _parse_yaml(text: str, place: str) -> Any:  # noqa: ANN401
    import yaml

    class StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Refuses a key that stands twice, and takes 1e3 for a number."""

    def only_once(loader: Any, node: Any) -> dict[Hashable, Any]:  # noqa: ANN401
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                said = f'the key "{key.value}" stands twice in one mapping'
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            seen.add(key.value)
        loader.flatten_mapping(node)
        found: dict[Hashable, Any] = yaml.SafeLoader.construct_mapping(loader, node, deep=True)
        return found

    StrictLoader.add_constructor("tag:yaml.org,2002:map", only_once)
    StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", _YAML_FLOAT, list("-+0123456789"))
    try:
        return yaml.load(text, Loader=StrictLoader)  # noqa: S506  a safe loader, made stricter
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadProblem(f"{place}{where}: not YAML: {err.problem or err.context}") from None
    except (yaml.YAMLError, ValueError) as err:
        raise BadProblem(f"{place}: not YAML: {' '.join(str(err).split())}") from None
