import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.estimation import forecast
from mbcasd.estimation.forecast import Kalman, State
from mbcasd.settings import ForecastKind

KINDS = (ForecastKind.EWMA, ForecastKind.KALMAN)


def noise(rng: random.Random, _second: int) -> float:
    return max(0.0, rng.gauss(500, 80))


def ramp(rng: random.Random, second: int) -> float:
    return 200 + second / 4 + rng.gauss(0, 30)


def wave(rng: random.Random, second: int) -> float:
    return 500 + 300 * math.sin(second / 100) + rng.gauss(0, 40)


def requests(rng: random.Random, _second: int) -> float:
    # About 30 jobs of 20 ms per second.
    return sum(20 for _ in range(200) if rng.random() < 0.15)


def heavy_tail(rng: random.Random, _second: int) -> float:
    return min(4000.0, 200 * rng.lognormvariate(0, 0.7))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("series", [noise, ramp, wave, requests, heavy_tail])
def test_nineteen_of_twenty_peaks_of_the_next_five_seconds_stay_below_the_forecast(
    series: Callable[[random.Random, int], float], kind: ForecastKind
) -> None:
    rng = random.Random(20)
    values = [series(rng, second) for second in range(2000)]
    state, peaks = None, []
    for value in values:
        state, peak = forecast.observe(state, value, 0.0, 1.0, kind)
        assert peak is not None
        peaks.append(peak)

    # The first minute is for finding the scale.
    judged = range(60, len(values) - 5)
    covered = sum(max(values[second + 1 : second + 6]) <= peaks[second] for second in judged) / len(judged)
    assert 0.92 <= covered <= 0.98
    assert state is not None
    assert state.margin_errors > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_margin_of_an_upheaval_is_forgotten_within_minutes(kind: ForecastKind) -> None:
    state, peak = None, None
    for second in range(600):
        usage_milli = 300 if second < 60 else 1000 + second % 2
        state, peak = forecast.observe(state, usage_milli, 0.0, 1.0, kind)

    assert peak is not None
    assert peak <= 1020


def test_off_foretells_nothing() -> None:
    assert forecast.observe(None, 500, 0.0, 1.0, ForecastKind.OFF) == (None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_was_changed_while_running_starts_over(kind: ForecastKind) -> None:
    other = KINDS[1 - KINDS.index(kind)]
    state, _ = forecast.observe(None, 500, 0.0, 1.0, other)

    state, peak = forecast.observe(state, 300, 0.0, 1.0, kind)

    assert state is not None
    assert (state.level_milli, peak) == (300, 300)


@pytest.mark.parametrize("kind", KINDS)
def test_a_throttled_second_may_raise_the_forecast_but_never_lowers_it(kind: ForecastKind) -> None:
    state, peak = forecast.observe(None, 500, 0.0, 1.0, kind)
    for _ in range(30):
        before, before_peak = state, peak
        state, peak = forecast.observe(state, 100, 1.0, 1.0, kind)
        assert isinstance(before, State)
        assert state is not None
        assert peak == before_peak
        assert state.level_milli == before.level_milli

    assert state is not None
    higher, _ = forecast.observe(state, 900, 1.0, 1.0, kind)
    assert higher is not None
    assert higher.level_milli > state.level_milli


def test_the_filter_settles_at_the_gains_that_were_found_best() -> None:
    level, kalman = 500.0, Kalman()
    for _ in range(500):
        level, kalman = forecast._filter(level, kalman, 500, 1.0, censored=False)

    # After an innovation of 100 the level moves by α and the velocity by β of it.
    moved, after = forecast._filter(level, kalman, 600, 1.0, censored=False)
    assert (moved - 500) / 100 == pytest.approx(0.170, abs=1e-3)
    assert after.velocity_milli_s / 100 == pytest.approx(0.0158, abs=1e-4)


def test_the_filter_follows_a_ramp_through_gaps() -> None:
    rng, state, now_s = random.Random(3), None, 0.0
    for _ in range(300):
        elapsed_s = rng.choice([1.0, 1.0, 2.0, 4.0])
        now_s += elapsed_s
        state, _ = forecast.observe(state, 100 + 2 * now_s, 0.0, elapsed_s, ForecastKind.KALMAN)

    assert state is not None
    assert state.kalman is not None
    assert state.level_milli == pytest.approx(100 + 2 * now_s, rel=0.01)
    assert state.kalman.velocity_milli_s == pytest.approx(2, rel=0.02)


def test_what_was_foretold_before_a_gap_is_not_judged() -> None:
    state = None
    for _ in range(3):
        state, _ = forecast.observe(state, 500, 0.0, 1.0, ForecastKind.EWMA)
    state, _ = forecast.observe(state, 2000, 0.0, 60.0, ForecastKind.EWMA)

    assert state is not None
    assert len(state.pending) == 1
    assert state.error_milli is None


@given(
    seconds=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1), st.floats(1e-3, 1e4)), min_size=1, max_size=60),
    kind=st.sampled_from(KINDS),
)
def test_a_forecast_is_always_a_number_and_never_negative(
    seconds: list[tuple[float, float, float]], kind: ForecastKind
) -> None:
    state: object = None
    for usage_milli, throttled_ratio, elapsed_s in seconds:
        state, peak = forecast.observe(state, usage_milli, throttled_ratio, elapsed_s, kind)
        assert peak is not None
        assert math.isfinite(peak)
        assert peak >= 0
