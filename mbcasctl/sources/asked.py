"""The market that a node would clear now, read off its picture."""

from math import inf

from mbcasd.errors import SourceError
from mbcasd.model.market import Bid, Market, Mechanism, Options
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot


def market_of(snapshot: NodeSnapshot) -> Market:
    """State the market of a node: every managed workload with its floor, need, cap and weight.

    What a picture does not carry is left out: the windows of the moment (steps, cooldowns, guard) and rounding,
    so the answer is where the node is heading, not its next step; and alpha, which is taken as 1.

    Raises:
        SourceError: There is no managed workload whose need is known.
    """
    bids = tuple(_bid(row) for row in snapshot.workloads if row.managed and row.need_milli is not None)
    if not bids:
        raise SourceError(f"{snapshot.node}: no workload is managed there, so there is no market to solve")
    return Market(
        capacity_milli=snapshot.limit_capacity_milli,
        bids=bids,
        mechanism=Mechanism(snapshot.mechanism),
        options=Options(alpha=1.0),
    )


def _bid(row: WorkloadSnapshot) -> Bid:
    name = f"{row.namespace}/{row.name}" if row.namespace else row.name
    need_milli = inf if row.need_milli is None else row.need_milli
    return Bid(
        name=f"{name}:{row.container}" if row.container else name,
        floor_milli=row.floor_milli,
        cap_milli=min(row.cap_milli, max(row.floor_milli, need_milli)),
        weight=row.weight,
    )
