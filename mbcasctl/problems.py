"""A problem file to markets: every key known, every value of its type, and the path of whatever is wrong.

The contract stands in the design notes, "mbcasctl solve". What concerns single values is refused here, what
concerns their meaning (floor above cap, names twice) by `mbcasd.allocation.market.check`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any, TypeVar

from mbcasctl import documents
from mbcasd.allocation.market import check
from mbcasd.errors import BadProblem
from mbcasd.model.market import Bid, Market, Mechanism, Options, OverloadRule

_PROBLEM_KEYS = ("mechanism", "capacity_milli", "agents", "groups", "options")
_AGENT_KEYS = ("name", "floor_milli", "cap_milli", "weight", "lower_milli", "upper_milli", "group")
_GROUP_KEYS = ("weight",)
_OPTION_KEYS = ("overload_rule", "minimum_milli", "truncate_ideal", "alpha", "normalised", "quantum_milli")

_Choice = TypeVar("_Choice", bound=Enum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """What a file asks to solve."""

    markets: tuple[Market, ...]
    batch: bool  # written as a list, so the answer is one too, whatever its length
    titles: tuple[str, ...] = ()  # what to call each; empty: they have no names


def load(path: str) -> Problems:
    """Read problems from a file, or from standard input (`-`).

    Raises:
        BadProblem: The file cannot be read, or states no market that can be cleared.
    """
    return understand(documents.read(path))


def understand(document: Any) -> Problems:  # noqa: ANN401
    """Turn plain data into markets.

    Raises:
        BadProblem: With the path of the field, in a batch also the number of the problem.
    """
    if isinstance(document, list):
        raise BadProblem('a list is no problem: write {"problems": […]} for many')
    problem = _mapping(document, "the problem")
    if "problems" not in problem:
        return Problems(markets=(_market(problem, ""),), batch=False)
    if len(problem) > 1:
        other = next(key for key in problem if key != "problems")
        raise BadProblem(f'"problems" stands alone: move {_shown(other)} into each of the problems')
    listed = problem["problems"]
    if not isinstance(listed, list) or not listed:
        raise BadProblem(f"problems must be a list of at least one problem, not {_kind(listed)}")
    markets = tuple(_market(_mapping(one, f"problems[{i}]"), f"problems[{i}].") for i, one in enumerate(listed))
    return Problems(markets=markets, batch=True)


def _market(problem: Mapping[str, Any], where: str) -> Market:
    _known(problem, _PROBLEM_KEYS, where)
    mechanism = _choice(problem.get("mechanism", Mechanism.NASH.value), Mechanism, f"{where}mechanism")
    agents = _required(problem, "agents", where)
    if not isinstance(agents, list):
        raise BadProblem(f"{where}agents must be a list, not {_kind(agents)}")
    options = _mapping(problem.get("options", {}), f"{where}options")
    _known(options, _OPTION_KEYS, f"{where}options.")
    if mechanism is Mechanism.ALPHA_FAIR and "alpha" not in options:
        raise BadProblem(f'{where}options.alpha is missing: alpha-fair needs a number of at least 0, or "inf"')
    market = Market(
        capacity_milli=_number(_required(problem, "capacity_milli", where), f"{where}capacity_milli"),
        bids=tuple(_bid(agent, f"{where}agents[{i}]") for i, agent in enumerate(agents)),
        mechanism=mechanism,
        group_weights=_group_weights(problem.get("groups", {}), f"{where}groups"),
        options=_options(options, f"{where}options."),
    )
    check(market, where)
    return market


def _bid(agent: Any, where: str) -> Bid:  # noqa: ANN401
    fields = _mapping(agent, where)
    name = fields.get("name")
    if isinstance(name, str) and name:
        where = f"{where} ({name})"
    where += ": "
    _known(fields, _AGENT_KEYS, where)
    name = _required(fields, "name", where)
    return Bid(
        name=_name(name, f"{where}name"),
        floor_milli=_number(_required(fields, "floor_milli", where), f"{where}floor_milli"),
        cap_milli=_number(_required(fields, "cap_milli", where), f"{where}cap_milli"),
        weight=_number(fields.get("weight", 1.0), f"{where}weight"),
        lower_milli=_maybe_number(fields.get("lower_milli"), f"{where}lower_milli"),
        upper_milli=_maybe_number(fields.get("upper_milli"), f"{where}upper_milli"),
        group=None if fields.get("group") is None else _name(fields["group"], f"{where}group"),
    )


def _group_weights(groups: Any, where: str) -> dict[str, float]:  # noqa: ANN401
    weights = {}
    for name, group in _mapping(groups, where).items():
        fields = _mapping(group, f"{where}.{name}")
        _known(fields, _GROUP_KEYS, f"{where}.{name}.")
        weights[name] = _number(fields.get("weight", 1.0), f"{where}.{name}.weight")
    return weights


def _options(options: Mapping[str, Any], where: str) -> Options:
    default = Options()
    alpha = options.get("alpha", default.alpha)
    return Options(
        overload_rule=_choice(
            options.get("overload_rule", default.overload_rule.value), OverloadRule, f"{where}overload_rule"
        ),
        minimum_milli=_number(options.get("minimum_milli", default.minimum_milli), f"{where}minimum_milli"),
        truncate_ideal=_truth(options.get("truncate_ideal", default.truncate_ideal), f"{where}truncate_ideal"),
        alpha=inf if alpha == "inf" else _number(alpha, f"{where}alpha", ' or "inf"'),
        normalised=_truth(options.get("normalised", default.normalised), f"{where}normalised"),
        quantum_milli=_number(options.get("quantum_milli", default.quantum_milli), f"{where}quantum_milli"),
    )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise BadProblem(f"{where} must be a mapping of keys to values, not {_kind(value)}")
    for key in value:
        if not isinstance(key, str):
            raise BadProblem(f"{where}: the key {_shown(key)} must be text; put it in quotes")
    return value


def _known(fields: Mapping[str, Any], keys: Collection[str], where: str) -> None:
    for key in fields:
        if key not in keys:
            raise BadProblem(f"{where}{key} is not a key here{_nearest(key, keys)}")


def _required(fields: Mapping[str, Any], key: str, where: str) -> Any:  # noqa: ANN401
    if key not in fields:
        raise BadProblem(f"{where}{key} is missing")
    return fields[key]


def _number(value: Any, where: str, alternative: str = "") -> float:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadProblem(f"{where} must be a number{alternative}, not {_kind(value)}")
    try:
        return float(value) + 0.0  # no negative zero
    except OverflowError:
        raise BadProblem(f"{where} is too large a number") from None


def _maybe_number(value: Any, where: str) -> float | None:  # noqa: ANN401
    return None if value is None else _number(value, where)


def _truth(value: Any, where: str) -> bool:  # noqa: ANN401
    if not isinstance(value, bool):
        raise BadProblem(f"{where} must be true or false, not {_kind(value)}")
    return value


def _name(value: Any, where: str) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise BadProblem(f"{where} must be text, not {_kind(value)}; put it in quotes")
    if not value:
        raise BadProblem(f"{where} must not be empty")
    return value


def _choice(value: Any, kind: type[_Choice], where: str) -> _Choice:  # noqa: ANN401
    names = [member.value for member in kind]
    if not isinstance(value, str):
        raise BadProblem(f"{where} must be one of {', '.join(names)}, not {_kind(value)}")
    if value not in names:
        raise BadProblem(f'{where} "{value}" is not known{_nearest(value, names)}')
    return kind(value)


def _nearest(word: str, words: Collection[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), words, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(words)}"


def _kind(value: Any) -> str:  # noqa: ANN401
    """Name what was found instead."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"the text {_shown(value)}"
    if isinstance(value, int | float):
        return f"the number {value:g}" if abs(value) < 1e300 else "a number"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "a mapping" if isinstance(value, dict) else f"a {type(value).__name__}"


def _shown(value: Any) -> str:  # noqa: ANN401
    text = value if isinstance(value, str) else repr(value)
    return f'"{text[:40]}…"' if len(text) > 40 else f'"{text}"'
