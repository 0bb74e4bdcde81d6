import time
from dataclasses import replace

import pytest
from golden import check_golden
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mbcasctl.survey.sorting import SurveySort, ordered
from mbcasctl.survey.values import NotRead, Survey, SurveyRow
from mbcasctl.views.inspect import lines, screenful
from mbcasctl.views.text import ASCII


@pytest.fixture(autouse=True)
def _one_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def a_row(name: str = "shop/worker-b:app", **more) -> SurveyRow:
    values = {
        "name": name,
        "cgroup": f"/kubepods/{name}",
        "workload_class": "Burstable",
        "usage_milli": 812.0,
        "peak_milli": 1000.0,
        "limit_milli": 1000.0,
        "period_usec": 100_000,
        "burst_usec": 0,
        "weight": 100,
        "periods": 10,
        "throttled_periods": 2,
        "throttled_ratio": 0.142,
        "throttled_s": 0.31,
        "throttled_above_s": 0.0,
        "waited_ratio": 0.35,
        "stall_limit_ratio": 0.93,
        "stall_neighbour_ratio": 0.05,
        "stall_self_ratio": 0.02,
        "runnable": 3.1,
    }
    return SurveyRow(**(values | more))


def an_idle_row(name: str, **more) -> SurveyRow:
    idle = {
        "usage_milli": 0.4,
        "peak_milli": 4.0,
        "limit_milli": None,
        "periods": 0,
        "throttled_periods": 0,
        "throttled_ratio": 0.0,
        "throttled_s": 0.0,
        "waited_ratio": None,
        "stall_limit_ratio": None,
        "stall_neighbour_ratio": None,
        "stall_self_ratio": None,
        "runnable": None,
    }
    return a_row(name, **(idle | more))


def a_survey(*rows: SurveyRow, **more) -> Survey:
    values = {
        "node": "node-1",
        "taken_wall_s": 1_764_079_337.0,
        "window_s": 1.0,
        "roots": ("/kubepods",),
        "cgroup_version": "v2",
        "driver": "systemd",
        "cpu_milli": 4000.0,
        "has_pressure": True,
        "has_burst": True,
        "rows": rows,
    }
    return Survey(**(values | more))


def a_shop() -> Survey:
    return a_survey(
        a_row(),
        a_row("shop/gateway-with-a-name-that-nobody-can-read:app", usage_milli=121.0, throttled_ratio=0.0),
        a_row(
            "batch/noise-0:noise",
            workload_class="BestEffort",
            usage_milli=12_340.0,
            throttled_ratio=0.71,
            stall_limit_ratio=1.0,
            stall_neighbour_ratio=0.0,
            stall_self_ratio=0.0,
        ),
        an_idle_row("kube-system/dns:dns", throttled_above_s=0.42),
        not_read=(NotRead(name="shop/old:app", reason="vanished while reading"),),
    )


def plain(survey: Survey, width: int = 80, **more) -> str:
    return "\n".join(line.plain.rstrip() for line in lines(survey, width, **more)) + "\n"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_survey_of_this_width_looks_like_this(width: int) -> None:
    check_golden(f"inspect_{width}.txt", plain(a_shop(), width))


def test_wide_has_all_figures_and_the_whole_path() -> None:
    check_golden("inspect_wide.txt", plain(a_shop(), 80, wide=True))


def test_without_unicode_nothing_is_lost() -> None:
    drawn = plain(a_shop(), 80, glyphs=ASCII)
    assert drawn.isascii()
    assert "93/ 5/ 2" in drawn


def test_a_host_without_pods_names_the_common_parent_once() -> None:
    rows = (a_row("system.slice/web.service", workload_class=""), a_row("system.slice/api.service", workload_class=""))
    drawn = plain(a_survey(*rows, driver=None, roots=("/system.slice",)))
    assert drawn.count("system.slice") == 1
    assert "\nweb.service" in drawn


def test_unknown_pressure_is_said_and_not_shown_as_zero() -> None:
    drawn = plain(a_survey(an_idle_row("a/b:c"), has_pressure=False))
    assert "PSI: not counted here" in drawn


def test_nothing_to_look_at_says_how_to_name_something() -> None:
    assert "--cgroup PATH" in plain(a_survey(), 120)
    assert "could be read" in plain(a_survey(not_read=(NotRead(name="x", reason="denied"),)))


def test_names_from_outside_cannot_move_the_cursor() -> None:
    assert "\x1b" not in plain(a_survey(a_row("shop/\x1b[2J:app"), roots=("/\x1b[2J",)), wide=True)


@pytest.mark.parametrize("sort", SurveySort)
def test_the_most_comes_first_and_equals_go_by_use_and_name(sort: SurveySort) -> None:
    first, second = a_row("a/first:x"), an_idle_row("b/second:x", limit_milli=10.0)
    assert ordered((second, first), sort) == (first, second)
    twin = replace(first, name="a/early:x")
    assert ordered((first, twin), sort) == (twin, first)


@given(st.text(max_size=90), st.floats(0, 1e9), st.integers(40, 200))
def test_no_line_is_longer_than_the_terminal(name: str, milli: float, width: int) -> None:
    survey = a_survey(a_row(name, usage_milli=milli, limit_milli=milli, runnable=min(milli, 1000)))
    for line in lines(survey, width):
        assert cell_len(line.plain) <= width


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 40))
def test_a_screenful_is_as_high_and_as_wide_as_the_terminal(width: int, height: int, rows: int) -> None:
    drawn = screenful(a_survey(*[a_row(f"a/{number}:c") for number in range(rows)]), width, height)
    assert len(drawn) == height
    assert {cell_len(line.plain) for line in drawn} == {width}
    assert len(screenful(None, width, height)) == height
