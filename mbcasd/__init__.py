"""MBCAS, a market for CPU on one Linux node.

The story, in the order in which it happens (the folders are in alphabetical order, this is not):

    sensing      cgroup files           -> CpuSample
    latency      who knows of users     -> LatencyReading: how slow it is for them
    estimation   samples                -> Demand: what it would use if it were not throttled
    bidding      demand and contract    -> Bid: floor, cap, weight
    guarding     what just happened     -> amended Bid, never an amended allocation
    allocation   bids and capacity      -> Clearing: who gets what, at which price, with proof
    actuation    clearing and limits    -> ResizePlan: decreases first, never above the bound
    accounting   everything above       -> receipts, record, metrics

`engine.py` joins the pure steps: `step(state, seen, now_s) -> (state, decision)`. `drivers/` feed it, `host/`
moves real limits, `roles/` wire it all together.
"""

__version__ = "0.1.0"
