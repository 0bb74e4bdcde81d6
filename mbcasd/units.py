"""All conversions between the units of CPU, of time and of size, and the one parser for each.

Millicores (`_milli`) are what people and the market speak: 1000 is one CPU. The kernel speaks quota per
period in microseconds (`_usec`).
"""

import contextlib
import math
import re

MILLI_PER_CPU = 1000

# The kernel refuses a quota below 1 ms (Documentation/scheduler/sched-bwc.rst), at a period of 100 ms that is 10m.
MIN_QUOTA_USEC = 1000
DEFAULT_PERIOD_USEC = 100_000

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(us|µs|ms|s|m|h|d)")
_SIZE = re.compile(r"(\d{1,18})(B|kB|MB|GB|KiB|MiB|GiB)?")
_SUFFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1} | {
    f"{letter}{i}": float((1024 if i else 1000) ** power)
    for power, letter in enumerate(("k", "M", "G", "T", "P", "E"), start=1)
    for i in ("", "i")
}
_SIZE_UNIT_BYTES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION_UNIT_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_cpu_milli(text: str | float) -> float:
    """Turn a CPU quantity into millicores: `"250m"` is 250, `"1.5"` and `1.5` are 1500.

    Args:
        text: A number of CPUs, or a string: CPUs, or millicores with the suffix `m`. Finite, not negative.

    Returns:
        Millicores, at least 0.

    Raises:
        ValueError: It is no such quantity; the message says what would be.
    """
    milli = math.nan
    if isinstance(text, str):
        digits, per_unit = (text[:-1], 1) if text.endswith("m") else (text, MILLI_PER_CPU)
        with contextlib.suppress(ValueError):
            milli = float(digits) * per_unit
    elif not isinstance(text, bool):
        milli = float(text) * MILLI_PER_CPU
    if not (math.isfinite(milli) and milli >= 0):
        raise ValueError(f"{text!r} is not a CPU quantity: write millicores as '250m' or CPUs as '1.5'")
    return milli


def parse_quantity(text: str) -> float:
    """Turn any quantity that the Kubernetes API writes into a number: `"64Mi"` is 67108864, `"250m"` is 0.25.

    Raises:
        ValueError: It is none.
    """
    digits = text.rstrip("numkKMGTPEi")
    suffix = text[len(digits) :].replace("Ki", "ki")  # the one whose case differs
    try:
        return float(digits) * _SUFFIXES[suffix]
    except (ValueError, KeyError):
        raise ValueError(f"{text!r} is not a quantity as the Kubernetes API writes it") from None


def format_cpu_milli(milli: float | None) -> str:
    """Write millicores as people read them: `250m`; an absent limit is `unlimited`."""
    return "unlimited" if milli is None else f"{milli:.0f}m"


def parse_duration_s(text: str | float) -> float:
    """Turn a duration into seconds: `"15s"`, `"100ms"`, `"1m30s"`, or a number of seconds.

    Raises:
        ValueError: It is no such duration, negative or not finite; the message says what would be.
    """
    if isinstance(text, str):
        parts = _DURATION_PART.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            seconds = sum(float(number) * _DURATION_UNIT_S[unit] for number, unit in parts)
            if math.isfinite(seconds):  # not so with hundreds of digits
                return seconds
    elif not isinstance(text, bool) and math.isfinite(text) and text >= 0:
        return float(text)
    raise ValueError(f"{text!r} is not a duration: write it as '15s', '100ms' or '1m30s'")


def format_duration(seconds: float) -> str:
    """Write seconds as a setting reads: `100ms`, `2s`, `1m30s`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    if seconds < 60:
        return f"{seconds:g}s"
    minutes, rest_s = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours:.0f}h" if hours else "", f"{minutes:.0f}m" if minutes else "", f"{rest_s:g}s" if rest_s else "")
    return "".join(parts)


def quota_usec(limit_milli: float, period_usec: int = DEFAULT_PERIOD_USEC) -> int:
    """CPU time per period that enforces a limit, in microseconds, at least the kernel's 1 ms."""
    return max(MIN_QUOTA_USEC, round(limit_milli * period_usec / MILLI_PER_CPU))


def limit_milli(quota: int | None, period_usec: int = DEFAULT_PERIOD_USEC) -> float | None:
    """The limit in millicores that a quota (microseconds, None for no quota) enforces."""
    return None if quota is None else quota * MILLI_PER_CPU / period_usec


def parse_bytes(text: str | float) -> int:
    """Turn a size into bytes: `"256MiB"`, `"1GB"`, or a whole number of bytes.

    Raises:
        ValueError: It is no such size; the message says what would be.
    """
    if isinstance(text, str):
        match = _SIZE.fullmatch(text)
        if match:
            return int(match[1]) * _SIZE_UNIT_BYTES[match[2] or ""]
    elif not isinstance(text, bool) and math.isfinite(text) and text >= 0 and text == int(text):
        return int(text)
    raise ValueError(f"{text!r} is not a size: write it as '256MiB' or '1GB'")


def format_bytes(size_bytes: int) -> str:
    """Write a size as a setting reads, exactly: `256MiB`, `1500B`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _SIZE_UNIT_BYTES[unit] == 0:
            return f"{size_bytes // _SIZE_UNIT_BYTES[unit]}{unit}"
    return f"{size_bytes}B"
