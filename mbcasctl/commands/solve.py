"""`mbcasctl solve`."""


def solve() -> None:
    """Show what the market would give each workload."""
