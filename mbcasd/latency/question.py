"""A PromQL template becomes a question, and an answer one number or the reason why it is none; pure."""

import math
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import PLACEHOLDERS

# A p99 of more than an hour is a mistake in the unit.
LONGEST_S = 3600.0

# Written as they are; everything else might end the quotes that it stands in.
_HARMLESS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@ ")


class Result(Enum):
    """What came of a question; a label of a metric, so the set is small and fixed."""

    OK = "ok"
    EMPTY = "empty"
    MANY = "many"
    NAN = "nan"
    INVALID = "invalid"  # negative, infinite, or longer than an hour
    STALE = "stale"
    REFUSED = "refused"  # it does not understand this question
    ERROR = "error"  # it cannot answer any
    REDIRECT = "redirect"
    LARGE = "large"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"
    AWAY = "away"


# What only a Prometheus that is alive can say: the next question may well have an answer.
ALIVE = frozenset({Result.OK, Result.EMPTY, Result.MANY, Result.NAN, Result.INVALID, Result.STALE, Result.REFUSED})
# HTTP's "Bad Request" and "Unprocessable Entity": wrong PromQL, and PromQL that fails as it is evaluated.
_QUESTION_IS_WRONG = frozenset({400, 422})


class Answer(NamedTuple):
    """One number, or why there is none."""

    result: Result
    p99_s: float | None = None
    words: str = ""  # for people, where it is not OK


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815 - Prometheus's own name
    result: msgspec.Raw


class _Body(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


class _Series(msgspec.Struct):
    value: tuple[float, str]  # seconds since the epoch, a number as text


def render(template: str, workload: WorkloadId) -> str:
    """Put a workload's names into a template; they can neither end the quotes around them nor begin new syntax."""
    values = (workload.namespace, workload.name, workload.container, str(workload))
    parts = template.split("{{")
    rendered = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}}")
        rendered.append(_escaped(dict(zip(PLACEHOLDERS, values, strict=True))[name.strip()]) + rest)
    return "".join(rendered)


def _escaped(text: str) -> str:
    r"""Text for inside a PromQL string of any quotes.

    `\xHH` means the same in single and in double quotes, where `\"` is wrong in the one and `\'` in the other.
    Source: prometheus.io/docs/prometheus/latest/querying/basics, "String literals".
    """
    return "".join(
        char if char in _HARMLESS else "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
        for char in text
    )


def target(query: str) -> str:
    """The path and query string of an instant query."""
    return f"/api/v1/query?query={quote(query, safe='')}"


def read_answer(status: int, body: bytes, *, wall_s: float, staleness_s: float) -> Answer:
    """Take the one number out of an answer.

    Args:
        status: Of HTTP, below 300 or from 400 on.
        body: As it came.
        wall_s: Now, by the clock of this machine.
        staleness_s: How far the answer's own time may be from that.
    """
    try:
        decoded = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if status >= 400:
            return Answer(Result.ERROR, words=f"it answers HTTP {status}")
        return Answer(Result.MALFORMED, words="its answer is not that of a Prometheus")
    if status >= 400 or decoded.status != "success" or decoded.data is None:
        result = Result.REFUSED if status in _QUESTION_IS_WRONG else Result.ERROR
        return Answer(result, words=f"it answers HTTP {status}: {_one_line(decoded.error)}")
    try:
        if decoded.data.resultType == "scalar":
            samples = [msgspec.json.decode(decoded.data.result, type=tuple[float, str])]
        elif decoded.data.resultType == "vector":
            samples = [series.value for series in msgspec.json.decode(decoded.data.result, type=list[_Series])]
        else:
            return Answer(Result.REFUSED, words=f"the query gives a {_one_line(decoded.data.resultType)}, not a number")
        values = [(at_s, float(text)) for at_s, text in samples]
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return Answer(Result.MALFORMED, words="its answer is not that of a Prometheus")
    return _judged(values, wall_s, staleness_s)


def _judged(values: list[tuple[float, float]], wall_s: float, staleness_s: float) -> Answer:
    if not values:
        return Answer(Result.EMPTY, words="the query finds no series")
    if len(values) > 1:
        return Answer(Result.MANY, words=f"the query finds {len(values)} series instead of one")
    at_s, value = values[0]
    if math.isnan(value):
        return Answer(Result.NAN, words="the query gives NaN: there were no requests, or no such metric")
    if not 0 <= value <= LONGEST_S:
        return Answer(Result.INVALID, words=f"the query gives {value:g}, which is no latency in seconds")
    if not abs(wall_s - at_s) <= staleness_s:
        return Answer(Result.STALE, words=f"its answer is {_age(wall_s - at_s)}: do the clocks agree?")
    return Answer(Result.OK, value)


def _age(age_s: float) -> str:
    return f"{age_s:.0f} s old" if age_s > 0 else f"{-age_s:.0f} s in the future"


def _one_line(text: str) -> str:
    """Somebody else's words, fit for one line of ours."""
    return "".join(char if char.isprintable() else " " for char in text[:160]) or "no reason given"
