"""Samples and demands as a few bytes each; pure.

A hundred busy containers make a thousand samples per second. One row per workload and second holds them as
columns: times as they were measured (replay must see the very same numbers), counters as one start and small
differences. About 28 bytes per sample, 20 where there is no PSI, and 6 µs per row.
"""

import math
import struct
from collections.abc import Sequence
from operator import sub

from mbcasd.errors import RecordError
from mbcasd.model.demand import Demand, StallSplit
from mbcasd.model.readings import CpuSample

# First byte: how the rest is to be read.
_NARROW = 0  # usage, throttled time: 32-bit differences; periods: 16-bit
_NARROW_WITH_PSI = 1
_WIDE = 2  # all counters as they are, 64 bits, -1 for "no PSI": after a reset or a very long gap
_MOST_SAMPLES = 255  # one byte counts them

_DEMAND = struct.Struct("<9f")
_UNKNOWN = math.nan


def _narrow(n: int, *, psi: bool) -> struct.Struct:
    d = n - 1
    return struct.Struct(f"<BB{n}d q{d}I q{d}H q{d}H q{d}I" + (f"q{d}Iq{d}I" if psi else ""))


def _wide(n: int) -> struct.Struct:
    return struct.Struct(f"<BB{n}d{6 * n}q")


_NARROW_STRUCTS = {(n, psi): _narrow(n, psi=psi) for n in range(1, 13) for psi in (False, True)}


def pack_samples(samples: Sequence[CpuSample]) -> bytes:
    """Pack one workload's samples, 1 to 255 in order of time."""
    times, *counters = zip(*samples, strict=True)
    n = len(times)
    some, full = counters[4], counters[5]
    psi = some[0] is not None
    if psi:
        known = None not in some and None not in full
    else:
        known = some.count(None) == n and full.count(None) == n
        del counters[4:]
    if known:
        numbers: list[int] = []
        for column in counters:
            numbers.append(column[0])
            numbers.extend(map(sub, column[1:], column))
        layout = _NARROW_STRUCTS.get((n, psi)) or _narrow(n, psi=psi)
        try:
            return layout.pack(_NARROW_WITH_PSI if psi else _NARROW, n, *times, *numbers)
        except struct.error:  # a counter went back or leapt: keep it as it is
            pass
    _, *counters = zip(*samples, strict=True)
    return _wide(n).pack(_WIDE, n, *times, *(-1 if v is None else v for column in counters for v in column))


def unpack_samples(packed: bytes) -> tuple[CpuSample, ...]:
    """Read back what `pack_samples` made.

    Raises:
        RecordError: The bytes are not that.
    """
    try:
        kind, n = packed[0], packed[1]
        if kind == _WIDE:
            values = _wide(n).unpack(packed)
        elif kind in {_NARROW, _NARROW_WITH_PSI}:
            values = _narrow(n, psi=kind == _NARROW_WITH_PSI).unpack(packed)
        else:
            raise RecordError(f"samples of kind {kind} are not known to this release")
    except (IndexError, struct.error) as err:
        raise RecordError("samples in the record are damaged") from err
    times, numbers = values[2 : 2 + n], values[2 + n :]
    columns: list[Sequence[int | None]] = [numbers[start : start + n] for start in range(0, len(numbers), n)]
    if kind == _WIDE:
        columns[4:] = [[None if v == -1 else v for v in column] for column in columns[4:]]
    else:
        columns = [_summed(column) for column in columns]  # type: ignore[arg-type]
        columns += [[None] * n] * (6 - len(columns))
    return tuple(map(CpuSample, times, *columns))


def _summed(column: Sequence[int]) -> list[int]:
    total, out = 0, []
    for step in column:
        total += step
        out.append(total)
    return out


def split_long(samples: Sequence[CpuSample]) -> list[Sequence[CpuSample]]:
    """Cut a sequence into pieces that `pack_samples` takes."""
    return [samples[start : start + _MOST_SAMPLES] for start in range(0, len(samples), _MOST_SAMPLES)]


def changed(before: CpuSample, after: CpuSample) -> bool:
    """Whether any counter moved between two samples."""
    return before[1:] != after[1:]


def pack_demand(demand: Demand) -> bytes:
    """Pack a demand as nine 32-bit floats: seven digits, to be shown, not to be computed with."""
    stall = demand.stall
    return _DEMAND.pack(
        demand.usage_milli,
        demand.smoothed_milli,
        demand.throttled_ratio,
        demand.need_milli,
        _UNKNOWN if demand.forecast_milli is None else demand.forecast_milli,
        *(
            (_UNKNOWN,) * 4
            if stall is None
            else (stall.limit_ratio, stall.neighbour_ratio, stall.self_ratio, stall.stalled_s)
        ),
    )


def unpack_demand(packed: bytes) -> Demand:
    """Read back what `pack_demand` made.

    Raises:
        RecordError: The bytes are not that.
    """
    try:
        usage, smoothed, throttled, need, forecast, limit, neighbour, own, stalled_s = _DEMAND.unpack(packed)
    except struct.error as err:
        raise RecordError("a demand in the record is damaged") from err
    return Demand(
        usage_milli=usage,
        smoothed_milli=smoothed,
        throttled_ratio=throttled,
        need_milli=need,
        stall=None
        if math.isnan(limit)
        else StallSplit(limit_ratio=limit, neighbour_ratio=neighbour, self_ratio=own, stalled_s=stalled_s),
        forecast_milli=None if math.isnan(forecast) else forecast,
    )
