import io

import msgspec
from golden import check_golden
from msgspec.structs import replace
from pictures import a_busy_row, a_picture, a_row, a_shop
from rich.console import Console

from mbcasctl.views.status import judge, screen
from mbcasctl.views.text import ASCII, UNICODE
from mbcasd.model.snapshot import LatencySourceSnapshot


def plain(status, glyphs=UNICODE) -> str:
    output = io.StringIO()
    Console(file=output, width=200).print(screen(status, glyphs))
    return output.getvalue()


def test_a_node_that_does_well_is_healthy_also_while_workloads_suffer() -> None:
    status = judge(a_picture(*a_shop()), age_s=1.0)

    assert status.healthy
    assert status.suffering == ("batch/noise-0", "shop/worker-b")
    check_golden("status.txt", plain(status))


def test_what_is_wrong_stands_below_and_makes_it_unhealthy() -> None:
    picture = a_picture(*a_shop(), problems=("the record could not be written: no space left",), receipt_holds=False)
    status = judge(picture, age_s=63.0)

    assert not status.healthy
    assert status.problems == (
        "the daemon answers, but has not looked at its node for 1m",
        "receipt 8f31c2aa91 does not hold: run `mbcasctl verify`",
        "the record could not be written: no space left",
    )
    check_golden("status_unhealthy.txt", plain(status))


def test_a_daemon_that_manages_nothing_is_not_healthy() -> None:
    assert "no workload is managed" in plain(judge(a_picture(market_mode=None, decided_wall_s=None), None))


def test_a_long_problem_is_wrapped_and_not_cut() -> None:
    problem = "something is wrong " * 30 + "at the end"
    output = io.StringIO()
    Console(file=output, width=80).print(screen(judge(a_picture(*a_shop(), problems=(problem,)), None)))

    assert "at the end" in " ".join(output.getvalue().split())


def test_only_the_first_sufferers_are_named() -> None:
    status = judge(a_picture(*(a_busy_row(f"w{at}") for at in range(9))), None)

    assert len(status.suffering) == 9
    assert "shop/w4 and 4 more" in plain(status)


def test_hostile_names_stay_names_and_ascii_stays_ascii() -> None:
    row = a_busy_row("\x1b[2Jevil")
    shown = plain(judge(a_picture(row, replace(a_row(), name="café"), node="\x1b]0;x\x07"), None), ASCII)

    assert shown.replace("\n", "").isprintable()
    assert shown.isascii()


def test_the_verdict_is_data_too() -> None:
    data = msgspec.json.decode(msgspec.json.encode(judge(a_picture(*a_shop()), None)))

    assert data["healthy"] is True
    assert data["node"]["node"] == "node-1"


def test_objectives_and_their_sources_are_one_line() -> None:
    rows = [
        a_row(f"w{at}", slo_p99_s=0.1, p99_source="prometheus", slo_violated=violated)
        for at, violated in enumerate([False, False, True, None])
    ]
    sources = (LatencySourceSnapshot(kind="prometheus", up=False), LatencySourceSnapshot(kind="push", up=True))
    shown = plain(judge(a_picture(*rows, a_row("w9", slo_p99_s=0.2), latency_sources=sources), None))

    assert "objectives: 2 kept, 1 violated, 2 not known; prometheus does not answer, push answers" in shown


def test_a_node_without_objectives_says_nothing_of_them() -> None:
    assert "objectives" not in plain(judge(a_picture(*a_shop()), None))
