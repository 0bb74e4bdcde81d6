"""One parser for each quantity."""

import pytest

from mbcasd import units


@pytest.mark.parametrize(
    ("text", "milli"), [("250m", 250), ("1.5", 1500), (2, 2000), ("0", 0), (0.25, 250), ("0.5m", 0.5)]
)
def test_cpu_quantities(text: str | float, milli: float) -> None:
    assert units.parse_cpu_milli(text) == milli


@pytest.mark.parametrize("text", ["", "m", "1k", "-1", "nan", "inf", "1e999", "-5m", True, float("nan")])
def test_what_is_no_cpu_quantity_is_refused_with_the_right_form(text: str | float) -> None:
    with pytest.raises(ValueError, match="250m"):
        units.parse_cpu_milli(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("100ms", 0.1), ("1m30s", 90), ("2h", 7200), (3, 3.0), ("1.5s", 1.5)]
)
def test_durations(text: str | float, seconds: float) -> None:
    assert units.parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "s", "1 s", "-1s", "1s2", "15x", -1, float("inf"), False])
def test_what_is_no_duration_is_refused_with_the_right_form(text: str | float) -> None:
    with pytest.raises(ValueError, match="15s"):
        units.parse_duration_s(text)


@pytest.mark.parametrize("text", ["100ms", "2s", "1m30s", "1h", "45s"])
def test_a_duration_reads_back_as_it_was_written(text: str) -> None:
    assert units.format_duration(units.parse_duration_s(text)) == text


def test_a_limit_becomes_a_quota_of_the_period_in_force() -> None:
    assert units.quota_usec(250) == 25_000
    assert units.quota_usec(250, 50_000) == 12_500
    # The kernel refuses less than 1 ms.
    assert units.quota_usec(1) == 1000
    assert units.limit_milli(25_000, 100_000) == 250
    assert units.limit_milli(None) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", 0.25),
        ("2", 2),
        ("1k", 1000),
        ("64Mi", 64 * 1024**2),
        ("1Ki", 1024),
        ("128974848", 128974848),
        ("1.5Gi", 1.5 * 1024**3),
        ("1e3", 1000),
        ("500u", 0.0005),
        ("12E", 12e18),
    ],
)
def test_every_quantity_of_the_kubernetes_api_is_read(text, value):
    assert units.parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "Mi", "1Kim", "one"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="not a quantity"):
        units.parse_quantity(text)
