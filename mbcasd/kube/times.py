"""Times as the Kubernetes API writes them."""

import datetime as dt


def format_time(wall_s: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the second: a Time."""
    return dt.datetime.fromtimestamp(int(wall_s), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(wall_s: float) -> str:
    """Seconds since the epoch as a MicroTime.

    Always with six digits behind the point: the API server answers 400 to a whole second without any.
    """
    return dt.datetime.fromtimestamp(wall_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time_s(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0 where it is none."""
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
