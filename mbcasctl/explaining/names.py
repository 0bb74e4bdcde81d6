"""From what a person typed to the workload that is meant."""

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from mbcasd.errors import ConfigError
from mbcasd.model.identity import WorkloadId

# A message lists no more than these.
_MOST_LISTED = 8


def find(text: str, known: Iterable[WorkloadId], place: str) -> WorkloadId:
    """Find the one workload that is meant: by its whole name, by an end of it, or by a glob.

    `shop/worker-b`, `worker-b` and `work*-b` may all mean `machine.slice/shop/worker-b`. The first kind that fits
    anything decides, so that a whole name is never ambiguous.

    Args:
        text: As typed.
        known: All workloads.
        place: Where these are from, for the message.

    Raises:
        ConfigError: None or several fit; the message lists the nearest, or all that fit.
    """
    names = sorted(set(known))
    text = text.removeprefix("/")
    for fits in (_is, _ends_with, _is_like):
        fitting = [name for name in names if fits(name, text)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ConfigError(f"{text!r} may mean {_listed(fitting)}: say which")
    if not names:
        raise ConfigError(f"no workload {text!r}: {place} knows none at all")
    nearest = _nearest(text, names)
    hint = f"did you mean {_listed(nearest)}?" if nearest else f"it knows {_listed(names)}"
    raise ConfigError(f"no workload {text!r} in {place}; {hint}")


def _is(name: WorkloadId, text: str) -> bool:
    return text == str(name)


def _ends_with(name: WorkloadId, text: str) -> bool:
    without_container = str(name._replace(container=""))
    return any(f"/{each}".endswith(f"/{text}") for each in (str(name), without_container)) and bool(text)


def _is_like(name: WorkloadId, text: str) -> bool:
    return any(fnmatchcase(each, text) for each in (str(name), name.name, str(name._replace(container=""))))


def _nearest(text: str, names: list[WorkloadId]) -> list[WorkloadId]:
    by_spelling = {spelling: name for name in names for spelling in (str(name), name.name)}
    found = [by_spelling[spelling] for spelling in get_close_matches(text, by_spelling, n=6, cutoff=0.5)]
    inside = [name for name in names if text and text in str(name)]
    return list(dict.fromkeys(inside + found))


def _listed(names: list[WorkloadId]) -> str:
    shown = ", ".join(map(str, names[:_MOST_LISTED]))
    left_out = len(names) - _MOST_LISTED
    return f"{shown} and {left_out} more" if left_out > 0 else shown
