"""How values are written in the file, by kind: checked and turned into what settings hold, and back.

A parser takes what TOML, the environment or a flag gave; text is accepted for everything, because the environment
has nothing else. It answers with the setting's value or raises ValueError whose words say what would be right.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mbcasd import units

TRUE_WORDS = ("true", "on", "yes", "1")
FALSE_WORDS = ("false", "off", "no", "0")


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to write a value."""

    form: str  # for people: "duration such as 15s, at least 10ms"
    parse: Callable[[object], Any]  # raises ValueError
    show: Callable[[Any], Any]  # setting → what the file would say; None: the key is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Which numbers are allowed; None: no bound on that side."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def check(self, value: float, given: object, write: Callable[[float], str]) -> None:
        """Refuse a number outside.

        Raises:
            ValueError: Names the bound that is broken, in the unit of the file.
        """
        if math.isnan(value):
            raise ValueError(f"{said(given)} is not a number")
        too_small = (self.at_least is not None and value < self.at_least) or (
            self.above is not None and value <= self.above
        )
        too_large = (self.at_most is not None and value > self.at_most) or (
            self.below is not None and value >= self.below
        )
        if too_small or too_large:
            raise ValueError(f"{said(given)} is out of range: {self.words(write)}")

    def words(self, write: Callable[[float], str]) -> str:
        """The bounds as people say them: `at least 1`, `above 0 and at most 1`."""
        bounds = (("at least", self.at_least), ("above", self.above), ("at most", self.at_most), ("below", self.below))
        return " and ".join(f"{word} {write(bound)}" for word, bound in bounds if bound is not None)


def said(value: object) -> str:
    """A value as it may appear in a one-line message: text in quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return legible(repr(value) if isinstance(value, str) else str(value))
    except ValueError:  # Python refuses to write integers of thousands of digits
        return "this number"


def legible(text: str) -> str:
    """Text that fits into a one-line message: no control characters, cut when it is long."""
    text = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most likely meant; None: none is like it."""
    import difflib  # only when something is wrong: most daemons never need it

    close = difflib.get_close_matches(word, tuple(known), n=1, cutoff=0.6)
    return close[0] if close else None


def duration(**bounds: float) -> Kind:
    """A time in seconds, written `15s` or `1m30s`; a bare number is seconds."""
    allowed = Range(**bounds)

    def parse(value: object) -> float:
        seconds = units.parse_duration_s(_text_or_number(value, "a duration: write it as '15s', '100ms' or '1m30s'"))
        allowed.check(_finite(seconds, value), value, _write_duration)
        return seconds

    return Kind(_form("duration such as 15s or 100ms", allowed, _write_duration), parse, _write_duration)


def cpu(**bounds: float) -> Kind:
    """CPU in millicores, written `100m`, or `1.5` for CPUs."""
    allowed = Range(**bounds)

    def parse(value: object) -> float:
        wanted = "a CPU quantity: write millicores as '250m' or CPUs as '1.5'"
        milli = units.parse_cpu_milli(_text_or_number(value, wanted))
        allowed.check(_finite(milli, value), value, _write_cpu)
        return milli

    return Kind(_form("CPU such as 100m or 1.5", allowed, _write_cpu), parse, _write_cpu)


def number(form: str = "number", *, may_be_infinite: bool = False, **bounds: float) -> Kind:
    """A plain number."""
    allowed = Range(**bounds)

    def parse(value: object) -> float:
        parsed = _number(value)
        allowed.check(parsed if may_be_infinite else _finite(parsed, value), value, _write_number)
        return parsed

    return Kind(_form(form, allowed, _write_number), parse, float)


def percent(**bounds: float) -> Kind:
    """Hundredths; 5 is five percent."""
    return number("percent", may_be_infinite=False, **bounds)


def ratio(**bounds: float) -> Kind:
    """A share between 0 and 1; 0.05 is five percent."""
    return number("share of 1, so 0.05 is five percent", may_be_infinite=False, **bounds)


def integer(**bounds: float) -> Kind:
    """A whole number."""
    allowed = Range(**bounds)

    def parse(value: object) -> int:
        parsed = _finite(_number(value), value)
        if parsed != int(parsed):
            raise ValueError(f"{said(value)} is not a whole number")
        allowed.check(parsed, value, _write_number)
        return int(parsed)

    return Kind(_form("whole number", allowed, _write_number), parse, int)


def size(**bounds: float) -> Kind:
    """Bytes, written `256MiB`."""
    allowed = Range(**bounds)

    def write(size_bytes: float) -> str:
        return units.format_bytes(int(size_bytes))

    def parse(value: object) -> int:
        parsed = units.parse_bytes(_text_or_number(value, "a size: write it as '256MiB' or '1GB'"))
        allowed.check(parsed, value, write)
        return parsed

    return Kind(_form("size such as 256MiB", allowed, write), parse, write)


def switch() -> Kind:
    """Yes or no."""

    def parse(value: object) -> bool:
        if isinstance(value, bool):
            return value
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in TRUE_WORDS + FALSE_WORDS:
            raise ValueError(f"{said(value)} is neither true nor false")
        return word in TRUE_WORDS

    return Kind("true or false", parse, bool)


def choice(words: type[Enum]) -> Kind:
    """One word of an enum."""
    known = word(*(str(member.value) for member in words))
    return Kind(known.form, lambda value: words(known.parse(value)), lambda member: member.value)


def word(*known: str) -> Kind:
    """One word of a list that settings keep as text."""

    def parse(value: object) -> str:
        if isinstance(value, str) and value in known:
            return value
        near = nearest(value, known) if isinstance(value, str) else None
        remedy = f"; did you mean {near}?" if near else ""
        raise ValueError(f"{said(value)} is none of {', '.join(known)}{remedy}")

    return Kind(f"one of {', '.join(known)}", parse, str)


def text(form: str = "text", *, starts_with: tuple[str, ...] = ("",)) -> Kind:
    """Any text that is not empty."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{said(value)} is not a {form}")
        if not value.startswith(starts_with):
            raise ValueError(f"{said(value)} is not a {form}: it starts with {' or '.join(starts_with)}")
        return value

    return Kind(form, parse, str)


def template(form: str, placeholders: tuple[str, ...]) -> Kind:
    """Text in which `{{name}}` stands for something that is known later."""
    plain = text(form)

    def parse(value: object) -> str:
        parsed = str(plain.parse(value))
        for part in parsed.split("{{")[1:]:
            name, closed, _ = part.partition("}}")
            if not closed:
                raise ValueError("{{ is not closed by }}")
            if name.strip() not in placeholders:
                known = ", ".join(f"{{{{{known}}}}}" for known in placeholders)
                raise ValueError(f"{{{{{legible(name.strip())}}}}} is no placeholder; there are {known}")
        return parsed

    return Kind(f"{form} with {', '.join(f'{{{{{name}}}}}' for name in placeholders)}", parse, str)


def texts(form: str, *, must_contain: str = "") -> Kind:
    """A list of texts; in the environment with commas between them."""

    def parse(value: object) -> tuple[str, ...]:
        parts: list[object] | None = None
        if isinstance(value, str):
            parts = [part.strip() for part in value.split(",") if part.strip()]
        elif isinstance(value, list | tuple):
            parts = list(value)
        if parts is None:
            raise ValueError(f"{said(value)} is not a list: write it as ['one', 'two']")
        wrong = [part for part in parts if not isinstance(part, str) or must_contain not in part or not part]
        if wrong:
            raise ValueError(f"{said(wrong[0])} is not a {form}")
        return tuple(str(part) for part in parts)

    return Kind(f"list of {form}s", parse, list)


def optional(kind: Kind, absent: str) -> Kind:
    """A value that may be missing; the word `absent` says so (empty: an empty text)."""

    def parse(value: object) -> object:
        return None if value == absent else kind.parse(value)

    def show(value: object) -> object:
        return (absent or None) if value is None else kind.show(value)

    return Kind(f"{kind.form}, or {absent}" if absent else kind.form, parse, show)


def up_and_down(kind: Kind) -> Kind:
    """Two values, for raises and for decreases: `{ up = 5, down = 10 }`, or one number for both."""

    def parse(value: object) -> tuple[object, object]:
        if isinstance(value, str) and "=" in value:
            value = dict(_assignments(value))
        if not isinstance(value, dict):
            both = kind.parse(value)
            return both, both
        if set(value) != {"up", "down"}:
            raise ValueError(f"{said(value)} does not name up and down: write {{ up = 5, down = 10 }} or one number")
        return kind.parse(value["up"]), kind.parse(value["down"])

    def show(pair: tuple[object, object]) -> dict[str, object]:
        return {"up": kind.show(pair[0]), "down": kind.show(pair[1])}

    return Kind(f"{kind.form}; one number, or {{ up = 5, down = 10 }}", parse, show)


def _assignments(text: str) -> list[tuple[str, str]]:
    """`{up = 5, down = 10}` as pairs of texts, for the environment."""
    parts = [part.partition("=") for part in text.strip().strip("{}").split(",")]
    return [(name.strip(), value.strip()) for name, _, value in parts]


def _text_or_number(value: object, wanted: str) -> str | float:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value)
    raise ValueError(f"{said(value)} is not {wanted}")


def _number(value: object) -> float:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{said(value)} is not a number")


def _finite(parsed: float, given: object) -> float:
    if not math.isfinite(parsed):
        raise ValueError(f"{said(given)} is not a finite number")
    return parsed


def _write_number(value: float) -> str:
    return f"{value:g}"


def _write_duration(seconds: float) -> str:
    return units.format_duration(seconds) if seconds else "0s"


def _write_cpu(milli: float) -> str:
    return f"{milli:.12g}m" if milli else "0"


def _form(name: str, allowed: Range, write: Callable[[float], str]) -> str:
    bounds = allowed.words(write)
    return f"{name}, {bounds}" if bounds else name
