import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mbcasctl.views import text
from mbcasctl.views.text import ASCII, UNICODE

any_figure = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0m"),
        (-0.2, "0m"),
        (850.4, "850m"),
        (9999.4, "9999m"),
        (9999.5, "10.0c"),
        (12_500, "12.5c"),
        (99_949, "99.9c"),
        (99_950, "100c"),
        (256_000, "256c"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_millicores_take_five_cells(value, shown) -> None:
    assert text.milli(value) == shown


@pytest.mark.parametrize(
    ("delta", "shown"),
    [(180, "+180m"), (-40, "−40m"), (999.6, "+1.0c"), (-1358, "−1.4c"), (64_000, "+64c"), (None, "set"), (0, "+0m")],
)
def test_changes_carry_their_sign(delta, shown) -> None:
    assert text.change(delta) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (-3, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86_399, "23h"), (86_400, "1d")],
)
def test_ages_are_rounded_down_to_the_largest_unit(seconds, shown) -> None:
    assert text.age(seconds) == shown


@pytest.mark.parametrize(("ratio", "shown"), [(0, "0.0"), (0.142, "14.2"), (0.9994, "99.9"), (1, "100"), (None, "–")])
def test_percent_has_one_decimal_where_it_matters(ratio, shown) -> None:
    assert text.percent(ratio) == shown


@given(st.floats(-9e5, 9e5) | st.just(math.nan))
def test_figures_keep_to_their_cells(value: float) -> None:
    assert cell_len(text.milli(value)) <= 5
    assert cell_len(text.change(value)) <= 5
    assert cell_len(text.age(value)) <= 3
    assert cell_len(text.percent(abs(value))) <= 4


def test_a_sparkline_shows_the_newest_values_against_the_limit() -> None:
    assert text.sparkline((0, 500, 1000, 2000), 6, 1000) == "  ▁▅██"
    assert text.sparkline((9, 9, 0, 1000), 2, 1000) == "▁█"
    assert text.sparkline((250, 500), 2, None) == "▅█"
    assert text.sparkline((0, 0), 3, None) == " ▁▁"
    assert text.sparkline((), 3, 100) == "   "


def test_a_bar_is_filled_in_eighths() -> None:
    assert text.bar(500, 10, 1000) == "█████"
    assert text.bar(512.5, 10, 1000) == "█████▏"
    assert text.bar(2000, 4, 1000) == "████"
    assert text.bar(0, 4, 1000) == ""
    assert text.bar(500, 10, 1000, ASCII) == "#####"


@given(st.text(), st.integers(0, 60))
def test_a_shortened_name_fits_and_keeps_both_ends(name: str, width: int) -> None:
    name = text.clean(name)
    short = text.shorten(name, width)

    assert cell_len(short) <= width
    if cell_len(name) > width > 1:
        head, _, tail = short.rpartition(UNICODE.gap) if UNICODE.gap not in name else ("", "", "")
        assert name.startswith(head)
        assert name.endswith(tail)


def test_the_end_of_a_name_keeps_more_than_its_beginning() -> None:
    assert text.shorten("payments-api-7f8d9c", 10) == "paym…f8d9c"


@given(st.text(), st.integers(0, 60), st.booleans())
def test_fit_gives_exactly_the_width(words: str, width: int, left: bool) -> None:
    assert cell_len(text.fit(text.clean(words), width, left=left)) == width


@given(st.text())
def test_clean_text_is_printable_and_plain_text_stays(words: str) -> None:
    assert text.clean(words).isprintable()
    assert text.clean(words, ASCII).isascii()
    if words.isprintable():
        assert text.clean(words) == words


@given(any_figure, any_figure, st.integers(0, 80))
def test_bars_never_outgrow_their_width(value, full, width: int) -> None:
    assert cell_len(text.bar(value, width, text.known(full) or 0.0)) <= width
    assert cell_len(text.sparkline([value or 0.0] * 9, width, full)) == width
