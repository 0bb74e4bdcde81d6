"""A market and its clearing: what workloads ask for, what they get, and the proof."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from mbcasd.errors import BadProblem


class Mechanism(Enum):
    """How a market is cleared."""

    NASH = "nash"
    KALAI_SMORODINSKY = "kalai-smorodinsky"
    ALPHA_FAIR = "alpha-fair"
    PRIMAL_DUAL = "primal-dual"


class OverloadRule(Enum):
    """Who gets what when the floors alone exceed the capacity."""

    PROPORTIONAL = "proportional"
    CEA = "cea"  # constrained equal awards: max-min, protects small floors


class Mode(Enum):
    """The regime of a clearing; the label is read off the price."""

    UNCONGESTED = "uncongested"
    CONGESTED = "congested"
    OVERLOADED = "overloaded"


class Binding(Enum):
    """What holds an allocation where it is."""

    FLOOR = "floor"
    CAP = "cap"
    INTERIOR = "interior"  # held by the price
    LOWER = "lower"
    UPPER = "upper"
    MINIMUM = "minimum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """What one workload asks of the market.

    The floor is its disagreement point: it never gets less while the market is not overloaded. The cap is
    the most that it can use. The window (lower, upper) is set by guard and step size for one clearing:
    a lower bound below the floor counts as the floor; an upper bound below the floor wins over it.
    """

    name: str
    floor_milli: float
    cap_milli: float
    weight: float = 1.0  # relative, no unit, at least 0
    lower_milli: float | None = None  # None: the floor
    upper_milli: float | None = None  # None: the cap
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Choices that a market leaves open."""

    overload_rule: OverloadRule = OverloadRule.PROPORTIONAL
    minimum_milli: float = 0.0  # nobody gets less, if the capacity allows it
    truncate_ideal: bool = True  # KS: nobody's ideal exceeds what is there to share
    alpha: float = 1.0  # alpha-fair: 0 to infinity
    normalised: bool = True  # alpha-fair: surplus relative to the range that is within reach
    quantum_milli: float = 0.0  # 0: exact real numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A whole problem: capacity, bids and the rules."""

    capacity_milli: float
    bids: tuple[Bid, ...]
    mechanism: Mechanism = Mechanism.NASH
    group_weights: Mapping[str, float] = field(default_factory=dict)  # a group that is not named weighs 1
    options: Options = field(default_factory=Options)


class Allocation(NamedTuple):
    """What the clearing gives to one bid.

    A tuple, not a dataclass: a clearing makes hundreds of them, and a node is cleared at every stall.
    """

    name: str
    milli: float
    binding: Binding


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupClearing:
    """What one group got, and the price inside it (None where no surplus exists)."""

    name: str
    milli: float
    price: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Proof that the numbers are right, computed without the solver."""

    kind: str  # "kkt" (Nash, alpha-fair), "ratio" (Kalai–Smorodinsky), "feasible" (nothing to share)
    holds: bool
    max_residual: float  # largest relative violation found


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """One solved market."""

    mechanism: Mechanism
    mode: Mode
    capacity_milli: float
    allocated_milli: float
    price: float | None  # log-welfare per extra millicore; conventions in algorithms §6
    ratio: float | None  # Kalai–Smorodinsky only: the common ratio
    allocations: tuple[Allocation, ...]  # in the order of the bids
    groups: tuple[GroupClearing, ...] = ()
    certificate: Certificate
    steps: int = 0  # breakpoints that the solver passed, or rounds of tâtonnement


def check_bid(bid: Bid, where: str) -> None:
    """Refuse a bid that no market can take.

    Raises:
        BadProblem: Names `where` the bid stands, the field, its value and what is wrong.
    """
    for name, value in (
        ("floor_milli", bid.floor_milli),
        ("cap_milli", bid.cap_milli),
        ("weight", bid.weight),
        ("lower_milli", bid.lower_milli),
        ("upper_milli", bid.upper_milli),
    ):
        if value is not None and not 0 <= value < float("inf"):
            raise BadProblem(f"{where}: {name} {value:g} must be a finite number and at least 0")
    if bid.floor_milli > bid.cap_milli:
        raise BadProblem(f"{where}: floor_milli {bid.floor_milli:g} is above cap_milli {bid.cap_milli:g}")
