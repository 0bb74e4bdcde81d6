import io
import time

import pytest
from golden import check_golden
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pictures import a_busy_row, a_picture, a_row, a_shop, a_stranger
from rich.cells import cell_len
from rich.console import Console

from mbcasctl.terminal import ansi
from mbcasctl.views.text import ASCII
from mbcasctl.views.top import Overlay, Sort, TopState, frame, lines
from mbcasctl.views.top.state import identity, visible
from mbcasd.model.snapshot import NodeSnapshot

PROBLEM = "the limit of batch/noise-0 was set by somebody else at 14:02: it is left alone until the daemon restarts"


@pytest.fixture(autouse=True)
def _one_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def plain(
    snapshot: NodeSnapshot, width: int = 80, height: int | None = 24, state: TopState | None = None, **more
) -> str:
    """The screen without its colours."""
    return "\n".join(line.plain.rstrip() for line in lines(snapshot, width, height, state, **more).lines) + "\n"


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_a_screen_of_this_width_looks_like_this(width: int) -> None:
    check_golden(f"top_{width}.txt", plain(a_picture(*a_shop(), problems=(PROBLEM,)), width, 16))


@pytest.mark.parametrize("overlay", [Overlay.HELP, Overlay.NODE, Overlay.EXPLAIN])
def test_what_covers_the_rows_looks_like_this(overlay: Overlay) -> None:
    shop = a_picture(*a_shop(), problems=(PROBLEM,))
    state = TopState(overlay=overlay, selected=identity(a_busy_row("worker-b")))
    check_golden(f"top_{overlay.value}.txt", plain(shop, 80, 50, state))


def test_a_node_without_workloads_says_how_to_get_some() -> None:
    shown = plain(a_picture(market_mode=None, price=None, need_milli=0.0, allocated_milli=0.0, receipt_id=None))

    assert "No workload is managed: start `mbcasd local` with `--parent CGROUP`" in shown
    assert "nothing cleared yet" in shown
    check_golden("top_empty.txt", shown)


def test_a_node_that_only_watches_says_so() -> None:
    assert "No workload is managed; these are only watched." in plain(a_picture(a_stranger()))


def test_colours_follow_how_a_workload_does() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, color_system="standard", width=80)
    console.print(frame(a_picture(*a_shop()), 80, 12))
    of = {line.split("m", 1)[0] + line: line for line in output.getvalue().splitlines()}
    held, suffering, fine = (
        next(line for line in of.values() if name in line) for name in ("noise-1", "worker-b", "worker-a")
    )

    assert "\x1b[33m~" in held
    assert "\x1b[31m!" in suffering
    assert "\x1b[32m " in fine


def test_without_colour_the_marks_and_words_still_tell() -> None:
    shown = plain(a_picture(*a_shop()))

    assert " !shop/worker-b" in shown
    assert " ~batch/noise-1" in shown
    assert " ·kube-system/dns" in shown
    assert "cooldown" in shown


def test_no_color_takes_colours_away_and_nothing_else(monkeypatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    output = io.StringIO()
    Console(file=output, force_terminal=True, color_system="standard", width=80).print(
        frame(a_picture(*a_shop()), 80, 12)
    )

    assert not any(f"\x1b[{code}m" in output.getvalue() for code in (31, 32, 33))


@pytest.mark.parametrize("width", [20, 40, 79, 80, 81, 119, 120, 200, 300])
@pytest.mark.parametrize("height", [1, 3, 5, 8, 24, 60])
def test_the_screen_is_as_large_as_the_terminal(width: int, height: int) -> None:
    drawing = lines(a_picture(*a_shop(), problems=(PROBLEM,) * 4), width, height)
    drawn = ansi.rendered(Console(force_terminal=True, width=500), drawing.lines, width)

    assert len(drawn) == height
    assert all(cell_len(line.plain) == width for line in drawing.lines)


def test_80_columns_lose_no_figure() -> None:
    shown = plain(a_picture(a_busy_row(stall_limit_ratio=0.33, stall_neighbour_ratio=0.33, stall_self_ratio=0.34)))

    for figure in ("812m", "81", "14.2", "33/33/34", "1240m", "1000m", "price", "+180m  3s"):
        assert figure in shown


def test_a_large_node_fits_as_well() -> None:
    big = a_busy_row(usage_milli=127_800.0, need_milli=256_000.0, limit_milli=99_999.0, last_change_milli=-64_000.0)
    shown = plain(a_picture(big, need_milli=256_000, capacity_milli=240_000))

    for figure in ("128c", "256c", "100c", "−64c", "128"):
        assert figure in shown
    assert all(cell_len(line) <= 80 for line in shown.splitlines())


def test_what_does_not_exist_is_a_dash_and_an_absent_limit_a_word() -> None:
    row = a_row(limit_milli=None, need_milli=None, stall_limit_ratio=None, last_change_wall_s=None, usage_milli=250.0)
    shown = plain(a_picture(row, price=None))

    line = next(line for line in shown.splitlines() if "worker-a" in line)
    assert line.split()[1:] == ["250m", "▅▅▆▇█", "–", "2.1", "–", "–", "none", "need", "–"] or "none" in line
    assert "price –" in shown


def test_figures_that_are_no_numbers_do_not_break_the_screen() -> None:
    nan = float("nan")
    row = a_busy_row(
        usage_milli=nan,
        usage_history_milli=(nan, float("inf"), 1.0),
        throttled_ratio=nan,
        need_milli=float("inf"),
        limit_milli=nan,
        stall_self_ratio=nan,
        weight=nan,
        stalled_s=nan,
        last_change_milli=nan,
        utility=nan,
    )
    picture = a_picture(row, price=nan, need_milli=nan, capacity_milli=nan, used_milli=float("inf"), taken_wall_s=nan)

    for width in (80, 200):
        for overlay in Overlay:
            state = TopState(overlay=overlay, selected=identity(row))
            shown = plain(picture, width, 60, state)
            assert overlay is Overlay.EXPLAIN or "nan" not in shown


def test_names_cannot_reach_the_terminal_as_control_sequences() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\r\nevil\u202egpj.exe\u200b\x9b31m"
    row = a_row(hostile, namespace="\x1b[31m", advice=hostile, workload_class=hostile, held_by=hostile, cgroup=hostile)
    strange = a_stranger(hostile, reason=hostile)
    picture = a_picture(
        row, strange, node=hostile, version=hostile, run_mode=hostile, problems=(hostile,), market_mode=hostile,
        mechanism=hostile, estimator=hostile, receipt_id=hostile, counters={hostile: 1.0},
    )  # fmt: skip

    for width in (80, 200):
        for overlay in Overlay:
            state = TopState(overlay=overlay, selected=identity(row), filter="evil" if width == 80 else "")
            for line in lines(picture, width, 60, state, trouble=hostile).lines:
                assert line.plain.isprintable()


def test_unicode_names_keep_the_columns_aligned() -> None:
    rows = (a_row("データベース-プライマリ-レプリカ"), a_row("naïve-café"), a_row("e\u0301tat"))
    drawn = lines(a_picture(*rows), 80, 24).lines

    starts = {cell_len(line.plain[: line.plain.index(" need ")]) for line in drawn if " need " in line.plain[60:]}
    assert len(starts) == 1


def test_long_names_are_cut_in_the_middle() -> None:
    rows = (a_row("payments-api-7f8d9c-x2x9q"), a_row("cart", namespace="other"))

    assert "shop/pa…c-x2x9q" in plain(a_picture(*rows))


def test_a_namespace_that_all_share_moves_into_the_heading() -> None:
    rows = tuple(a_row(name, namespace="mbcas-demo") for name in ("worker-a", "worker-b"))
    shown = plain(a_picture(*rows))

    assert "WORKLOAD in" in shown
    assert "  worker-a   " in shown


def test_ascii_terminals_get_ascii() -> None:
    for overlay in Overlay:
        state = TopState(overlay=overlay, selected=identity(a_busy_row("worker-b")))
        assert plain(a_picture(*a_shop(), a_row("café")), 120, 60, state, glyphs=ASCII).isascii()


def test_scrolling_keeps_the_selected_row_in_sight() -> None:
    rows = tuple(a_row(f"w{at:03}") for at in range(200))
    for at in (0, 1, 57, 198, 199):
        drawn = plain(a_picture(*rows), state=TopState(sort=Sort.NAME, selected=identity(rows[at])))
        assert f"› shop/w{at:03}" in drawn
    assert "183-200 of 200" in drawn


def test_the_selection_stays_with_its_workload_when_rows_move() -> None:
    calm, busy = a_row("worker-a"), a_busy_row("worker-b")
    state = TopState(selected=identity(calm))

    for picture in (a_picture(calm, busy), a_picture(replace(calm, throttled_ratio=0.9), busy)):
        assert "worker-a" in next(line for line in plain(picture, state=state).splitlines() if line.startswith("›"))


def test_without_a_height_all_rows_are_there_and_no_keys() -> None:
    shown = plain(a_picture(*(a_row(f"w{at:03}") for at in range(200))), height=None)

    assert "w000" in shown
    assert "w199" in shown
    assert "quit" not in shown


def test_trouble_with_the_source_comes_before_the_daemons_own_problems() -> None:
    shown = plain(a_picture(*a_shop(), problems=("a", "b")), trouble="lost the daemon 3 s ago, trying again")

    assert "NO NEWS" in shown
    assert shown.index("! lost the daemon") < shown.index("! a (1 more: n)")


def test_a_filter_that_matches_nothing_says_how_to_get_rid_of_it() -> None:
    assert "No workload matches the filter; Esc clears it." in plain(a_picture(*a_shop()), state=TopState(filter="zzz"))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("WORKER", {"worker-a", "worker-b"}),
        ("worker price", {"worker-b"}),
        ("not managed", {"dns"}),
        ("latency", {"worker-b"}),
        ("batch/", {"noise-0", "noise-1"}),
        ("excluded", {"dns"}),
    ],
)
def test_every_word_of_a_filter_must_occur(words: str, names: set[str]) -> None:
    assert {row.name for row in visible(a_picture(*a_shop()), TopState(filter=words))} == names


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        (Sort.THROTTLED, "noise-0"),
        (Sort.USAGE, "noise-0"),
        (Sort.OF_LIMIT, "noise-0"),
        (Sort.STALLED, "noise-0"),
        (Sort.NEED, "noise-0"),
        (Sort.LIMIT, "noise-0"),
        (Sort.LAST, "noise-0"),
        (Sort.NAME, "noise-0"),
    ],
)
def test_the_most_comes_first_and_reverse_turns_it_round(sort: Sort, first: str) -> None:
    picture = a_picture(*a_shop())
    rows = visible(picture, TopState(sort=sort))
    turned = visible(picture, TopState(sort=sort, reverse=True))

    assert rows[0].name == first
    assert rows[-1].name == turned[-1].name == "dns"  # what is not managed stays below
    assert turned[0].name != first


def test_an_absent_limit_is_the_largest_and_a_missing_figure_the_smallest() -> None:
    rows = (a_row("a", limit_milli=9000.0, need_milli=1.0), a_row("b", limit_milli=None, need_milli=None))

    assert [row.name for row in visible(a_picture(*rows), TopState(sort=Sort.LIMIT))] == ["b", "a"]
    assert [row.name for row in visible(a_picture(*rows), TopState(sort=Sort.NEED))] == ["a", "b"]


names = st.text(max_size=40)
figures = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(
    name=names,
    namespace=names,
    usage=st.floats(allow_nan=True),
    need=figures,
    limit=figures,
    change=figures,
    width=st.integers(20, 260),
    height=st.integers(1, 60),
    sort=st.sampled_from(list(Sort)),
    overlay=st.sampled_from(list(Overlay)),
)
def test_any_picture_fits_any_terminal(
    name, namespace, usage, need, limit, change, width, height, sort, overlay
) -> None:
    row = a_row(
        name, namespace=namespace, usage_milli=usage, need_milli=need, limit_milli=limit, last_change_milli=change
    )
    picture = a_picture(row, *a_shop(), need_milli=usage, capacity_milli=need or 0.0)
    state = TopState(sort=sort, overlay=overlay, selected=identity(row))
    drawing = lines(picture, width, height, state)
    ansi.rendered(Console(force_terminal=True, width=500, file=io.StringIO()), drawing.lines, width)

    assert len(drawing.lines) == height
    assert all(cell_len(line.plain) == width and line.plain.isprintable() for line in drawing.lines)
