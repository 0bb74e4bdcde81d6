from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.estimation import smoothing
from mbcasd.estimation.smoothing import HalfLives
from mbcasd.settings import CostSettings, DemandSettings

NORMAL = (DemandSettings(), CostSettings())


def test_a_weight_per_second_becomes_a_half_life() -> None:
    # ln 2 / -ln(1 - 0.3) = 1.94 s, ln 2 / -ln(1 - 0.1) = 6.58 s
    assert smoothing.half_life_s(0.3) == pytest.approx(1.943, abs=1e-3)
    assert smoothing.half_life_s(0.1) == pytest.approx(6.579, abs=1e-3)
    assert smoothing.half_life_s(0.5, sample_s=15) == pytest.approx(15)
    assert smoothing.half_life_s(1.0) == 0
    assert smoothing.half_life_s(0.0) == inf


def test_one_sample_per_second_gives_the_weights_of_the_settings() -> None:
    assert smoothing.smooth(100, 200, 1.0, *NORMAL) == pytest.approx(130)
    assert smoothing.smooth(200, 100, 1.0, *NORMAL) == pytest.approx(190)


def test_cost_mode_comes_down_as_fast_as_it_goes_up() -> None:
    cost = CostSettings(cost_efficiency_mode=True)

    assert smoothing.smooth(200, 100, 1.0, DemandSettings(), cost) == pytest.approx(170)
    assert smoothing.smooth(100, 200, 1.0, DemandSettings(), cost) == pytest.approx(130)


def test_the_first_value_is_the_level() -> None:
    assert smoothing.smooth(None, 321, 1.0, *NORMAL) == 321


@given(
    previous=st.floats(0, 1e6),
    value=st.floats(0, 1e6),
    parts=st.lists(st.floats(0, 100), min_size=1, max_size=8),
    half_life=st.one_of(st.just(0.0), st.just(inf), st.floats(0.01, 1000)),
)
def test_how_often_a_steady_value_is_seen_does_not_matter(
    previous: float, value: float, parts: list[float], half_life: float
) -> None:
    lives = HalfLives(half_life, half_life)
    in_parts = previous
    for part_s in parts:
        in_parts = smoothing.approach(in_parts, value, part_s, lives)

    assert in_parts == pytest.approx(smoothing.approach(previous, value, sum(parts), lives), rel=1e-9, abs=1e-6)
    slack = 1e-9 * (previous + value)
    assert min(previous, value) - slack <= in_parts <= max(previous, value) + slack
