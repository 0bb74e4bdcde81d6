import json
from dataclasses import replace

import pytest
from golden import check_golden
from pictures import TAKEN_WALL_S, a_busy_row, a_picture, a_row, a_shop, a_stranger

from mbcasctl.explaining.counterfactual import Counterfactual, Policy
from mbcasctl.explaining.explanation import Change, Explanation, Happening, explain
from mbcasctl.explaining.share import Remedy, Share, remedies, share_of
from mbcasctl.views import explain as view
from mbcasctl.views.text import ASCII
from mbcasd.accounting import receipts
from mbcasd.allocation.market import clear
from mbcasd.model.identity import WorkloadId
from mbcasd.model.market import Bid, Market, Options

WORKER_B = WorkloadId("shop", "worker-b")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def a_market(asked: float = 1240) -> Market:
    bids = (
        Bid(name="shop/worker-b", floor_milli=500, cap_milli=asked, weight=2),
        Bid(name="shop/worker-a", floor_milli=100, cap_milli=300),
        Bid(name="batch/noise-0", floor_milli=100, cap_milli=2000),
    )
    return Market(capacity_milli=2000, bids=bids, options=Options(quantum_milli=10))


def a_share(market: Market | None = None, name: str = "shop/worker-b") -> Share:
    market = market or a_market()
    receipt = receipts.make(market, clear(market), "stall shop/worker-b", 100.0)
    share = share_of(receipt, name, TAKEN_WALL_S - 3, receipts.verify(receipt))
    assert share is not None
    return share


def an_explanation(**more: object) -> Explanation:
    found = explain(a_picture(*a_shop()), WORKER_B, place="/run/mbcas/mbcasd.sock")
    return replace(found, **more)  # type: ignore[arg-type]


def a_whole_explanation() -> Explanation:
    return an_explanation(
        share=replace(a_share(), receipt_id="8f31c2aa91"),
        target_throttling_ratio=0.05,
        estimator="tobit",
        change=Change(
            from_milli=820, to_milli=1000, status="applied", asked_wall_s=TAKEN_WALL_S - 3, took_s=0.031, detail=""
        ),
        guard=Happening(wall_s=TAKEN_WALL_S - 8, message="shop/worker-b was throttled in 62 % of 20 periods"),
        remedies=(
            Remedy(action="raise its weight from 2 to 3", gives_milli=1140),
            Remedy(action="cap batch/noise-0 at 700m", gives_milli=1200),
        ),
        without=(
            Counterfactual(
                policy=Policy.STATIC, limit_milli=500, mean_limit_milli=500, throttled_ratio=0.61, changes=0
            ),
            Counterfactual(
                policy=Policy.VPA,
                limit_milli=920,
                mean_limit_milli=500,
                throttled_ratio=0.61,
                changes=0,
                acts_after_s=2400,
            ),
            Counterfactual(
                policy=Policy.CAPTAIN, limit_milli=1080, mean_limit_milli=990, throttled_ratio=0.03, changes=14
            ),
        ),
        replayed_s=600.0,
    )


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_whole_explanation_fits_every_width(width: int) -> None:
    shown = view.as_text(a_whole_explanation(), width).plain

    assert all(len(line) <= width for line in shown.splitlines())
    check_golden(f"explain_{width}.txt", shown + "\n")


def test_the_snapshot_alone_says_what_is_missing() -> None:
    shown = view.as_text(an_explanation(missing=("how the market was cleared: there is no record",)), 80).plain

    check_golden("explain_snapshot.txt", shown + "\n")


def test_a_terminal_without_unicode_gets_plain_signs() -> None:
    shown = view.as_text(replace(a_whole_explanation(), without=()), 80, ASCII).plain

    assert shown.isascii()
    assert "820m -> 1000m" in shown


def test_a_name_from_outside_cannot_move_the_cursor() -> None:
    found = an_explanation(name="shop/\x1b[2Jworker", workload=a_busy_row(advice="\x1b[31mred"))

    assert "\x1b" not in view.as_text(found, 80).plain


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (a_row(), "It may use 700m. It needs 700m, so it has what it needs."),
        (a_busy_row(), "It would need 1240m. CPU is scarce, and this is its share at the present price."),
        (a_busy_row(held_by="cap"), "Its owner or the configuration allows no more."),
        (a_busy_row(held_by="step"), "the next step follows"),
        (a_row(limit_milli=None), "It has no limit. It needs 700m, so it has what it needs."),
        (a_row(need_milli=None), "not known yet"),
        (a_row(need_milli=None, held_by="owner"), "Somebody else set its limit"),
        (a_stranger(), "It may use 100m. It is not managed: excluded namespace, so it keeps what it has."),
    ],
)
def test_the_answer_comes_first(row, words) -> None:
    who = WorkloadId(row.namespace, row.name)

    assert words in view.answer(explain(a_picture(row), who, place="here"))


def test_a_daemon_that_only_watches_says_what_it_would_do() -> None:
    snapshot = a_picture(a_busy_row(target_milli=1000.0, limit_milli=500.0), run_mode="observe")

    words = view.answer(explain(snapshot, WORKER_B, place="here"))
    assert words.endswith("The daemon only watches (mode observe); enforcing, it would get 1000m.")


def test_the_price_and_the_weight_make_the_share() -> None:
    # 2000 - 700 of floors = 1300 of surplus; worker-a is full with 200, the other two share 1100 by 2 : 1.
    share = a_share()

    assert share.price == pytest.approx(3 / 1100)
    assert share.priced_milli == pytest.approx(500 + 2 * 1100 / 3)
    assert share.given_milli == 1230
    assert share.holds
    shown = view.as_text(an_explanation(share=share), 200).plain
    assert "nash gives floor 500m + weight 2 / price = 1233m, rounded 1230m (steps of 10m)" in shown


def test_a_bid_that_is_met_needs_no_arithmetic() -> None:
    shown = view.as_text(an_explanation(share=a_share(name="shop/worker-a")), 200).plain

    assert "nash gives all that it asked for: 300m" in shown


def test_a_receipt_that_does_not_hold_is_said_in_words() -> None:
    market = a_market()
    receipt = replace(receipts.make(market, clear(market), "optimizer", 1.0), receipt_id="0000")
    share = share_of(receipt, "shop/worker-b", TAKEN_WALL_S, receipts.verify(receipt))

    shown = view.as_text(an_explanation(share=share, receipt_holds=False), 200).plain

    assert "✗ DOES NOT HOLD" in shown
    assert "does not hold: the content has the id" in shown


def test_each_remedy_is_tried_by_clearing_the_market_again() -> None:
    found = remedies(a_market(asked=1900), "shop/worker-b", need_milli=1900, cap_milli=2000)

    assert found == (
        # Three of four parts of 1100 are 825.
        Remedy(action="raise its weight from 2 to 3", gives_milli=1330),
        # Noise has 470: half of its surplus is 180; what is left of 2000 after 280 and 300 is 1420.
        Remedy(action="cap batch/noise-0 at 280m", gives_milli=1420),
    )


def test_what_is_held_by_its_cap_is_told_to_raise_it() -> None:
    market = Market(capacity_milli=9000, bids=(Bid(name="a", floor_milli=100, cap_milli=800),))

    assert remedies(market, "a", need_milli=1200, cap_milli=800) == (
        Remedy(action="raise its cap to 1200m", gives_milli=1200),
    )


def test_who_made_no_bid_has_no_share_and_no_remedy() -> None:
    market = a_market()
    receipt = receipts.make(market, clear(market), "optimizer", 1.0)

    assert share_of(receipt, "nobody", 0.0, ()) is None
    assert remedies(market, "nobody", 100, 100) == ()


def test_the_data_are_plain_and_carry_the_answer() -> None:
    data = view.as_data(a_whole_explanation())

    again = json.loads(json.dumps(data))
    assert again["answer"].startswith("It may use 1000m.")
    assert again["lacks_milli"] == 240
    assert again["share"]["binding"] == "interior"
    assert again["without"][1] == {
        "policy": "vpa",
        "limit_milli": 920,
        "mean_limit_milli": 500,
        "throttled_ratio": 0.61,
        "changes": 0,
        "acts_after_s": 2400,
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"slo_p99_s": 0.1}, "100 ms expected, nobody says what it is"),
        (
            {"p99_s": 0.132, "slo_violated": True, "slo_violations": 3, "leniency": 0.25},
            (
                "p99 132 ms, 100 ms expected, violated (prometheus, 8s ago); violated in 3 periods so far; "
                "it may bear 0.25 times its usual throttling"
            ),
        ),
        ({"p99_s": 0.05, "slo_violated": False}, "p99 50 ms, 100 ms expected, kept (prometheus, 8s ago)"),
        ({"p99_s": 0.05, "slo_violated": None}, "p99 50 ms, 100 ms expected, too old to count (prometheus, 8s ago)"),
        ({"slo_violated": True, "slo_p99_s": None}, "violated (prometheus, 8s ago)"),
    ],
)
def test_a_latency_is_explained_with_what_follows_from_it(fields: dict, words: str) -> None:
    read = {"slo_p99_s": 0.1, "p99_source": "prometheus", "p99_read_wall_s": TAKEN_WALL_S - 8}
    row = a_row(**(read | fields if "slo_violated" in fields else fields))

    assert view.latency(row, TAKEN_WALL_S, ASCII) == words


def test_the_explanation_has_a_line_about_a_latency_that_is_known() -> None:
    row = a_row(slo_p99_s=0.1, p99_s=0.132, p99_source="push", p99_read_wall_s=TAKEN_WALL_S, slo_violated=True)
    found = explain(a_picture(row), WorkloadId("shop", "worker-a"), place="")

    assert " latency  p99 132 ms" in view.as_text(found, 80).plain
