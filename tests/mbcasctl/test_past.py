from pathlib import Path

import pytest
from rigs.recording import a_recorder
from rigs.two_clearings import write_two_clearings

from mbcasctl.sources import open_source
from mbcasctl.sources.record import RecordSource
from mbcasd.clock import SteppedClock
from mbcasd.errors import RecordError


@pytest.fixture
def record(tmp_path) -> Path:
    write_two_clearings(tmp_path / "record.db")
    return tmp_path / "record.db"


def test_the_last_picture_is_the_one_that_the_daemon_left(record) -> None:
    past = RecordSource(str(record)).past(600)

    assert past.depth == 2
    assert past.picture(0) == open_source(record=str(record)).snapshot()
    assert [row.name for row in past.picture(0).workloads] == ["api"]


def test_an_earlier_picture_shows_who_had_what_then(record) -> None:
    then = RecordSource(str(record)).past(600).picture(1)
    web = next(row for row in then.workloads if row.name == "web")
    api = next(row for row in then.workloads if row.name == "api")

    assert (then.market_mode, then.raises_last_15s, then.lowers_last_15s) == ("congested", 1, 0)
    # 500 less what api can use, 60: web gets 440 of the 800 that it needs.
    assert (web.target_milli, web.need_milli, web.held_by) == (pytest.approx(440), 800, "price")
    assert (web.limit_milli, web.last_change_milli, web.usage_milli) == (400, 200, 115)
    assert web.last_change_wall_s == pytest.approx(then.taken_wall_s - 3)
    assert (web.stall_limit_ratio, web.stalled_s) == (pytest.approx(0.9), 2.0)
    assert (api.limit_milli, api.held_by, api.last_change_wall_s) == (300, "need", None)
    assert then.allocated_milli == pytest.approx(500)


def test_use_before_a_picture_is_its_history(record) -> None:
    past = RecordSource(str(record)).past(600)
    web = next(row for row in past.picture(1).workloads if row.name == "web")
    api = next(row for row in past.picture(1).workloads if row.name == "api")

    assert web.usage_history_milli == tuple(100.0 + second for second in range(16))
    assert set(api.usage_history_milli) == {50.0}  # written once, because it did not change
    assert len(api.usage_history_milli) == 16


def test_the_first_picture_has_the_first_limits_and_what_lies_before_it_ends(record) -> None:
    past = RecordSource(str(record)).past(600)
    first = past.picture(2)

    assert {row.name: row.limit_milli for row in first.workloads} == {"web": 200, "api": 300}
    assert first.market_mode == "uncongested"
    assert past.picture(99) == first


def test_a_short_window_reads_only_what_lies_in_it(record) -> None:
    past = RecordSource(str(record)).past(7)

    assert past.depth == 1
    assert past.picture(1).market_mode == "congested"


def test_a_limit_whose_reading_lies_before_the_window_is_what_the_next_change_began_with(record) -> None:
    past = RecordSource(str(record)).past(600)._replace(limits={})

    assert {row.name: row.limit_milli for row in past.picture(2).workloads} == {"web": 200, "api": 300}


def test_a_record_without_a_picture_says_when_there_will_be_one(tmp_path) -> None:
    recorder = a_recorder(tmp_path / "record.db", SteppedClock())
    recorder.write_waiting()
    recorder.close()

    with pytest.raises(RecordError, match="holds no picture yet"):
        open_source(record=str(tmp_path / "record.db")).snapshot()
