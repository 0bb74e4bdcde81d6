"""Fast rules that amend bids, never allocations."""
