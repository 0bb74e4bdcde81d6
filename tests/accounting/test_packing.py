import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.accounting.packing import changed, pack_demand, pack_samples, split_long, unpack_demand, unpack_samples
from mbcasd.errors import RecordError
from mbcasd.model.demand import Demand, StallSplit
from mbcasd.model.readings import CpuSample

counters = st.integers(0, 2**62)
psi = st.none() | counters
any_sample = st.builds(CpuSample, st.floats(0, 1e9), counters, counters, counters, counters, psi, psi)


def busy_second(count: int = 10, *, with_psi: bool = True) -> list[CpuSample]:
    """A container at 50 % of one CPU, throttled in every other period."""
    return [
        CpuSample(
            1000.0 + i / 10,
            10**12 + i * 50_000,
            10**6 + i,
            10**5 + i // 2,
            10**11 + i * 20_000,
            10**10 + i * 30_000 if with_psi else None,
            10**9 + i * 10_000 if with_psi else None,
        )
        for i in range(count)
    ]


@given(st.lists(any_sample, min_size=1, max_size=255))
def test_any_samples_come_back_as_they_went_in(samples):
    assert unpack_samples(pack_samples(samples)) == tuple(samples)


def test_a_busy_second_takes_thirty_bytes_a_sample_and_less_without_psi():
    # Ten times of 8 bytes; per counter 8 bytes and nine differences of 4 (periods: 2).
    assert len(pack_samples(busy_second())) == 2 + 10 * 8 + 6 * 8 + 9 * (4 + 2 + 2 + 4 + 4 + 4)
    assert len(pack_samples(busy_second(with_psi=False))) == 2 + 10 * 8 + 4 * 8 + 9 * (4 + 2 + 2 + 4)


def test_a_counter_that_goes_back_is_kept_as_it_was():
    before, after = CpuSample(1.0, 5000, 10, 3, 700), CpuSample(1.1, 40, 0, 0, 0)

    assert unpack_samples(pack_samples([before, after])) == (before, after)


def test_pressure_that_appears_between_two_samples_is_kept():
    before, after = CpuSample(1.0, 1), CpuSample(1.1, 2, some_usec=7, full_usec=3)

    assert unpack_samples(pack_samples([before, after])) == (before, after)


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\x00\x05abc", b"\x07\x01" + b"\x00" * 40])
def test_damaged_samples_are_refused(damage):
    with pytest.raises(RecordError):
        unpack_samples(damage)


def test_more_samples_than_a_row_takes_are_cut_into_several():
    samples = busy_second(600)

    parts = split_long(samples)

    assert [len(part) for part in parts] == [255, 255, 90]
    assert [sample for part in parts for sample in unpack_samples(pack_samples(part))] == samples


def test_time_alone_is_no_change():
    first, second, *_ = busy_second()

    assert not changed(first, first._replace(read_at_s=2000.0))
    assert changed(first, second)


@pytest.mark.parametrize(
    "stall", [None, StallSplit(limit_ratio=0.5, neighbour_ratio=0.25, self_ratio=0.25, stalled_s=3)]
)
@pytest.mark.parametrize("forecast_milli", [None, 512.0])
def test_a_demand_comes_back_with_its_unknowns(stall, forecast_milli):
    demand = Demand(
        usage_milli=812.0,
        smoothed_milli=800.5,
        throttled_ratio=0.125,
        need_milli=1240.0,
        stall=stall,
        forecast_milli=forecast_milli,
    )

    assert unpack_demand(pack_demand(demand)) == demand


def test_a_damaged_demand_is_refused():
    with pytest.raises(RecordError, match="damaged"):
        unpack_demand(b"123")
