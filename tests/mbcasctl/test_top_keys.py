import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasctl.views.sorting import Sort
from mbcasctl.views.top.keys import LONGEST_FILTER, press
from mbcasctl.views.top.state import Overlay, TopState
from mbcasd.model.identity import WorkloadId

ROWS = [WorkloadId("shop", f"w{at}") for at in range(30)]


def after(keys: list[str] | str, state: TopState | None = None, **more) -> TopState:
    """The state after these keys, one by one."""
    state = state or TopState()
    for key in keys:
        state = press(state, key, ROWS, **({"page": 10, "depth": 5, "pictures": 3} | more))
    return state


def test_q_quits_from_everywhere_but_the_filter() -> None:
    assert after("q").quit
    assert after("?q").quit
    assert not after("/q").quit
    assert after("/q").filter == "q"


def test_s_goes_round_all_orders_and_back() -> None:
    assert [after("s" * presses).sort for presses in range(len(Sort) + 1)] == [*Sort, Sort.THROTTLED]
    assert after("sS").sort is Sort.THROTTLED
    assert after("S").sort is Sort.NAME


def test_a_new_order_begins_the_usual_way_round() -> None:
    assert after("r").reverse
    assert not after("rr").reverse
    assert not after("rs").reverse


def test_a_filter_is_typed_kept_and_cleared() -> None:
    typed = after([*"/Wör r", "backspace"])
    assert (typed.filter, typed.typing) == ("Wör ", True)
    assert after(["enter"], typed) == TopState(filter="Wör ")
    assert after(["escape"], typed) == TopState()
    assert after(["enter", "escape"], typed) == TopState()
    assert after(["clear-line"], typed) == TopState(typing=True)
    assert after(["/", "backspace"]) == TopState()


def test_a_filter_takes_no_control_keys_and_has_an_end() -> None:
    assert after(["/", "left", "page-up", "\x07"]).filter == ""
    assert len(after("/" + "x" * 200).filter) == LONGEST_FILTER


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        (["j"], 0),
        (["down", "down"], 1),
        (["k"], 29),
        (["up", "up"], 28),
        (["j", "k"], 0),
        (["G"], 29),
        (["G", "j"], 29),
        (["G", "g"], 0),
        (["end", "home"], 0),
        (["page-down"], 9),
        (["j", "page-down"], 10),
        (["j", "page-down", "page-down", "page-down"], 29),
        (["G", "page-up"], 19),
    ],
)
def test_the_selection_moves_and_stays_inside(keys: list[str], row: int) -> None:
    assert after(keys).selected == ROWS[row]


def test_a_selected_workload_that_vanished_is_no_longer_the_start() -> None:
    gone = TopState(selected=WorkloadId("shop", "gone"))

    assert after("j", gone).selected == ROWS[0]
    assert after("e", gone).selected == ROWS[0]


def test_without_rows_nothing_is_selected_or_explained() -> None:
    for key in ("j", "k", "G", "page-down", "e", "enter"):
        assert press(TopState(), key, []) == TopState()


def test_escape_lets_go_of_the_selection_first_and_of_the_filter_then() -> None:
    state = TopState(selected=ROWS[3], filter="w")

    assert after(["escape"], state) == TopState(filter="w")
    assert after(["escape", "escape"], state) == TopState()


def test_explain_opens_on_the_selected_row_or_on_the_first() -> None:
    assert after("e").overlay is Overlay.EXPLAIN
    assert after("e").selected == ROWS[0]
    assert after(["j", "j", "enter"]).selected == ROWS[1]


@pytest.mark.parametrize(("key", "overlay"), [("?", Overlay.HELP), ("h", Overlay.HELP), ("n", Overlay.NODE)])
def test_an_overlay_closes_with_its_own_key_or_escape(key: str, overlay: Overlay) -> None:
    assert after([key]).overlay is overlay
    assert after([key, key]).overlay is Overlay.NONE
    assert after([key, "escape"]).overlay is Overlay.NONE


def test_an_overlay_scrolls_to_its_end_and_no_further() -> None:
    assert after("?jj").scroll == 2
    assert after(["?", "page-down"]).scroll == 5
    assert after(["?", "G", "k"]).scroll == 4
    assert after(["?", "G", "home"]).scroll == 0
    assert after("?k").scroll == 0
    assert after("?jn") == TopState(overlay=Overlay.NODE)
    assert after("?j").selected is None


def test_p_and_space_hold_the_picture_also_under_an_overlay() -> None:
    assert after("p").paused
    assert not after("p ").paused
    assert after("?p").paused


def test_left_and_right_step_through_a_record_and_do_nothing_without_one() -> None:
    assert after(["left"] * 9).step == 3
    assert after(["left", "left", "right"]).step == 1
    assert after(["right"]).step == 0
    assert after(["e", "left"]).step == 1
    assert after(["left"], pictures=0) == TopState()


@given(
    st.lists(
        st.sampled_from(
            [*"qsSr/jkgGenhp? abc", "up", "down", "left", "right", "home", "end", "page-up", "page-down", "enter"]
            + ["escape", "backspace", "clear-line", "redraw"]
        )
    )
)
def test_no_sequence_of_keys_leads_out_of_bounds(keys: list[str]) -> None:
    state = after(keys)

    assert state.selected is None or state.selected in ROWS
    assert 0 <= state.scroll <= 5
    assert 0 <= state.step <= 3
    assert len(state.filter) <= LONGEST_FILTER
