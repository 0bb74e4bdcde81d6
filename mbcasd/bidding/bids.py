"""A need and a contract become a bid."""

from mbcasd.model.demand import Contract
from mbcasd.model.market import Bid


def bid_of(name: str, contract: Contract, need_milli: float, *, lower_milli: float, upper_milli: float | None) -> Bid:
    """State what a workload asks of the market.

    The cap of the bid is the need, bounded by the contract: what is measured cannot be inflated by asking, and
    under Nash bargaining nobody gains by overstating it (algorithms §2.2). A need below the floor asks for the
    floor, because that is what was promised.

    Args:
        name: Unique in the market.
        contract: Floor, cap, weight and group.
        need_milli: What it would use, in millicores.
        lower_milli: The window's lower bound; the market keeps it as long as capacity lasts.
        upper_milli: The window's upper bound; None: none.
    """
    ceiling_milli = min(contract.cap_milli, max(need_milli, contract.floor_milli))
    return Bid(
        name=name,
        floor_milli=contract.floor_milli,
        # A window that holds the limit up (cooldown, guard) holds it above the need as well.
        cap_milli=min(contract.cap_milli, max(ceiling_milli, lower_milli)),
        weight=contract.weight,
        lower_milli=min(lower_milli, contract.cap_milli),
        upper_milli=upper_milli,
        group=contract.group,
    )
