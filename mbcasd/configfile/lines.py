"""On which line each key of a TOML text stands; `tomllib` does not tell.

Only called with text that `tomllib` has accepted, so it can be a scanner of tokens instead of a parser. A key
inside an inline table has no entry of its own; whoever asks falls back to the line of the table.
"""

import re

Path = tuple[str | int, ...]  # ("market", "overcommit"), ("workload", 0, "cap")

_TOKEN = re.compile(
    r'''
      (?P<string> """(?:\\.|[^\\])*?"{3,5} | \'\'\'.*?\'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*' )
    | (?P<comment> \#[^\n]* )
    | (?P<newline> \n )
    | (?P<word> [A-Za-z0-9_+:-]+ )
    | (?P<mark> [\[\]{}=.,] )
    ''',
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """Find the line of each table and key, counted from 1."""
    found: dict[Path, int] = {}
    table: Path = ()
    entries: dict[str, int] = {}  # how many [[name]] there were
    words: list[str] = []  # the key or header being read
    depth = 0  # of brackets: in a value, or 1 and 2 in a header
    in_value = in_header = False
    line = 1
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token[0]
        if kind == "newline" and depth == 0:
            words, in_value, in_header = [], False, False
        elif in_value:
            depth += (word in "[{") - (word in "]}") if kind == "mark" else 0
        elif kind in {"word", "string"}:
            words.append(word.strip("\"'"))
        elif word == "=":
            found.setdefault((*table, *words), line)
            in_value = True
        elif word == "[":
            in_header = True
            depth += 1
        elif word == "]" and in_header:
            if words:
                table = _header(words, is_list=depth == 2, entries=entries)
                found.setdefault(table, line)
                words = []
            depth -= 1
        line += word.count("\n")
    return found


def _header(words: list[str], *, is_list: bool, entries: dict[str, int]) -> Path:
    """The path that `[a.b]` or `[[a]]` opens."""
    if not is_list:
        return tuple(words)
    name = ".".join(words)
    entries[name] = entries.get(name, -1) + 1
    return (*words, entries[name])


def line_of(path: Path, found: dict[Path, int]) -> int | None:
    """The line of a key, or of the closest table around it."""
    while path:
        if path in found:
            return found[path]
        path = path[:-1]
    return None
