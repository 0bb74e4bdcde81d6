"""What comes first in a survey; imports nothing heavy, because the command line offers it in `--help`."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mbcasctl.survey.values import SurveyRow


class SurveySort(StrEnum):
    """The most of it on top, names from a to z."""

    THROTTLED = "throttled"
    USAGE = "usage"
    STALLED = "stalled"
    RUNNABLE = "runnable"
    LIMIT = "limit"
    NAME = "name"


_KEYS: dict[SurveySort, Callable[["SurveyRow"], float]] = {
    SurveySort.THROTTLED: lambda row: row.throttled_ratio,
    SurveySort.USAGE: lambda row: row.usage_milli,
    SurveySort.STALLED: lambda row: row.waited_ratio or 0.0,
    SurveySort.RUNNABLE: lambda row: row.runnable or 0.0,
    SurveySort.LIMIT: lambda row: float("inf") if row.limit_milli is None else row.limit_milli,
    SurveySort.NAME: lambda _: 0.0,
}


def ordered(rows: tuple["SurveyRow", ...], sort: SurveySort) -> tuple["SurveyRow", ...]:
    """The rows in this order; equals by use, then by name, so that the order is the same each time."""
    key = _KEYS[sort]
    return tuple(
        sorted(rows, key=lambda row: (-key(row), *(() if sort is sort.NAME else (-row.usage_milli,)), row.name))
    )
