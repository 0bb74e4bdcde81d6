"""Times as the Kubernetes API writes them."""

import datetime as dt


def format_time(wall_s: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the second."""
    return dt.datetime.fromtimestamp(int(wall_s), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time_s(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0 where it is none."""
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
