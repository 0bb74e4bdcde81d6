from dataclasses import replace

import pytest
from builders import a_bid
from golden import check_golden

from mbcasctl.views import solution
from mbcasctl.views.text import ASCII, UNICODE
from mbcasd.allocation.market import clear
from mbcasd.model.market import Certificate, Market, Mechanism, Options


def drawn(market, *, width=80, glyphs=UNICODE, wide=False):
    from rich.console import Console

    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(solution.as_screen(market, clear(market), glyphs, width=width, wide=wide))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


THREE = (a_bid("web"), a_bid("api", weight=2, cap=400), a_bid("shop/a-batch-job-with-a-long-name-17", upper_milli=250))
MARKETS = {
    "nash": Market(capacity_milli=1000, bids=THREE),
    "nash_rounded": Market(capacity_milli=1000, bids=THREE, options=Options(quantum_milli=10)),
    "kalai_smorodinsky": Market(capacity_milli=1000, bids=THREE, mechanism=Mechanism.KALAI_SMORODINSKY),
    "alpha_fair": Market(
        capacity_milli=1000, bids=THREE, mechanism=Mechanism.ALPHA_FAIR, options=Options(alpha=float("inf"))
    ),
    "uncongested": Market(capacity_milli=12_000, bids=THREE),
    "overloaded": Market(capacity_milli=200, bids=THREE, options=Options(minimum_milli=10)),
    "nothing": Market(capacity_milli=300, bids=THREE),
    "groups": Market(
        capacity_milli=1000,
        bids=(*THREE, a_bid("db", floor=0.5, group="prod"), a_bid("cache", group="prod", cap=150)),
        group_weights={"prod": 2},
    ),
}


@pytest.mark.parametrize("name", MARKETS)
def test_a_solution_looks_like_this(name):
    check_golden(f"solve_{name}.txt", drawn(MARKETS[name]))


def test_wide_shows_exact_figures_windows_and_groups():
    check_golden("solve_wide.txt", drawn(MARKETS["groups"], width=160, wide=True))


@pytest.mark.parametrize("width", [40, 70, 80])
@pytest.mark.parametrize("name", MARKETS)
def test_it_fits_the_terminal(name, width):
    lines = drawn(MARKETS[name], width=width).splitlines()

    assert all(len(line) <= width for line in lines)
    assert not any("…" in line for line in lines if "shop/" not in line)
    assert any("GETS" in line and "HELD BY" in line for line in lines)


def test_a_terminal_without_unicode_gets_readable_signs():
    shown = drawn(MARKETS["nash"], glyphs=ASCII)

    assert "|####" in shown
    assert not set("▕█▏") & set(shown)


def test_names_from_outside_cannot_write_on_the_terminal():
    market = Market(capacity_milli=1000, bids=(a_bid("web\x1b[31m\nboo", group="g\x07"),))

    assert not {"\x1b", "\x07"} & set(drawn(market, wide=True, width=160))


def test_markup_in_names_is_text():
    assert "[red]x[/red]" in drawn(Market(capacity_milli=1000, bids=(a_bid("[red]x[/red]"),)))


def test_data_has_the_keys_and_the_order_of_the_contract():
    data = solution.as_data(clear(MARKETS["groups"]))

    assert list(data) == [
        "mechanism",
        "mode",
        "capacity_milli",
        "allocated_milli",
        "price",
        "ratio",
        "allocations",
        "groups",
        "certificate",
    ]
    assert list(data["allocations"][0]) == ["name", "milli", "binding"]
    assert list(data["groups"][0]) == ["name", "milli", "price"]
    assert list(data["certificate"]) == ["kind", "holds", "max_residual"]


def test_a_proof_that_fails_is_said_and_is_still_json():
    from rich.console import Console

    market = MARKETS["nash"]
    failed = replace(clear(market), certificate=Certificate(kind="kkt", holds=False, max_residual=float("inf")))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(solution.as_screen(market, failed))

    assert "The proof fails (largest error inf)" in capture.get()
    assert solution.as_data(failed)["certificate"] == {"kind": "kkt", "holds": False, "max_residual": None}
