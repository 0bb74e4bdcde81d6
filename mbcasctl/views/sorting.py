"""What rows can be sorted by; imports nothing heavy, because the command line offers it in `--help`."""

from enum import StrEnum


class Sort(StrEnum):
    """What comes first; the most of it on top, names from a to z."""

    THROTTLED = "throttled"
    USAGE = "usage"
    OF_LIMIT = "of-limit"
    STALLED = "stalled"
    NEED = "need"
    LIMIT = "limit"
    LAST = "last"
    NAME = "name"
