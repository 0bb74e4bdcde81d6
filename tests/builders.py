"""Values with defaults, so that a test names only what it is about."""

from mbcasd.model.market import Bid


def a_bid(name: str = "web", *, floor: float = 100, cap: float = 900, weight: float = 1, **more: object) -> Bid:
    """A plain bid, in millicores."""
    return Bid(name=name, floor_milli=floor, cap_milli=cap, weight=weight, **more)  # type: ignore[arg-type]
