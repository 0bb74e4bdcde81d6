"""The record against what disks, people and other programs do to it; all of it for real."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import contextmanager, suppress

import pytest
from rigs.recording import WEB, a_recorder, a_workload, run_busy

from mbcasd.accounting.reading import RecordReader
from mbcasd.clock import SteppedClock
from mbcasd.errors import ConfigError, RecordError
from mbcasd.model.decision import Event, Observation


@pytest.fixture
def clock():
    return SteppedClock(now_s=1000.0)


@contextmanager
def a_small_disk(where, size="1m"):
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "mbcas-test", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


def fill_up(filler):
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def an_event(clock, kind="test"):
    return Event(at_s=clock.now_s(), kind=kind, workload=None, message="")


def kinds(path):
    with RecordReader(path) as reader:
        return [recorded.value.kind for recorded in reader.events()]


@pytest.mark.mounts
def test_a_full_disk_stops_nothing_is_said_once_and_the_record_says_what_it_lacks(tmp_path, clock, caplog):
    with a_small_disk(tmp_path / "disk") as disk:
        path = disk / "record.db"
        recorder = a_recorder(path, clock)
        run_busy(recorder, clock, seconds=2)
        filler = disk / "filler"
        fill_up(filler)
        run_busy(recorder, clock, seconds=300, step_s=1.0)

        trouble = recorder.health.trouble
        assert "full" in trouble
        assert len([r for r in caplog.records if "Decisions go on" in r.message]) == 1

        filler.unlink()
        clock.advance(61.0)
        recorder.put_event(an_event(clock, "afterwards"))
        recorder.write_waiting()
        assert recorder.health.trouble is None
        recorder.close()
        assert kinds(path) == ["afterwards", "record"]


@pytest.mark.mounts
def test_a_disk_that_turns_read_only_is_waited_for(tmp_path, clock):
    with a_small_disk(tmp_path / "disk") as disk:
        path = disk / "record.db"
        recorder = a_recorder(path, clock)
        run_busy(recorder, clock, seconds=2)
        recorder._drop_store()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        recorder.put_event(an_event(clock))
        recorder.write_waiting()
        assert "read-only" in recorder.health.trouble.lower()

        # Meanwhile the past can still be read.
        with RecordReader(path) as reader:
            assert len(reader.runs()) == 1

        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        clock.advance(2.0)
        recorder.write_waiting()
        recorder.close()
        assert kinds(path) == ["test", "record"]


@pytest.mark.mounts
def test_a_read_only_place_at_the_start_is_trouble_and_not_a_reason_to_stop(tmp_path, clock):
    with a_small_disk(tmp_path / "disk") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        recorder = a_recorder(disk / "state" / "record.db", clock)
        recorder.start()
        recorder.close()
    assert "read-only" in recorder.health.trouble.lower()


def test_a_lock_of_another_program_costs_nothing_but_time(tmp_path, clock):
    path = tmp_path / "record.db"
    recorder = a_recorder(path, clock)
    run_busy(recorder, clock, seconds=1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recorder.put_event(an_event(clock))
    recorder.write_waiting()
    assert "another program holds a lock" in recorder.health.trouble

    other.execute("ROLLBACK")
    other.close()
    clock.advance(2.0)
    recorder.write_waiting()
    recorder.close()
    assert (recorder.health.trouble, recorder.health.dropped) == (None, 0)
    assert kinds(path) == ["test", "record"]


def test_attempts_come_further_and_further_apart(tmp_path, clock):
    path = tmp_path / "record.db"
    recorder = a_recorder(path, clock)
    path.mkdir()
    waits_s = []
    for _ in range(9):
        recorder.write_waiting()
        waits_s.append(recorder._next_try_s - clock.now_s())
        clock.advance(waits_s[-1])
    path.rmdir()
    recorder.close()

    assert waits_s == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def damage(path):
    """Overwrite all pages but the first, whose header says that this is a record."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


def test_a_damaged_record_is_moved_aside_and_a_new_one_begins(tmp_path, clock):
    path = tmp_path / "record.db"
    recorder = a_recorder(path, clock)
    run_busy(recorder, clock, seconds=3)
    recorder.close()
    damage(path)

    with pytest.raises(RecordError, match="damaged"), RecordReader(path) as reader:
        reader.workloads()
    again = a_recorder(path, clock)
    again.put_observation(Observation(workloads={WEB: a_workload()}), clock.now_s())
    again.write_waiting()
    assert "moved to record.db.damaged" in again.health.trouble
    clock.advance(2.0)
    again.write_waiting()
    again.close()

    assert again.health.trouble is None
    assert (tmp_path / "record.db.damaged").exists()
    with RecordReader(path) as reader:
        assert [recorded.workload for recorded in reader.workloads()] == [WEB]


CHILD = """
import sys
from pathlib import Path
from mbcasd.accounting.record import Recorder
from mbcasd.clock import SystemClock
from mbcasd.model.decision import Event
from mbcasd.settings import Settings

clock = SystemClock()
recorder = Recorder(Path(sys.argv[1]), node="n", version="1", settings=Settings(), clock=clock)
recorder.start()
number = 0
while True:
    number += 1
    recorder.put_event(Event(at_s=clock.now_s(), kind="test", workload=None, message=str(number)))
    recorder.flush()
    print(number, flush=True)
"""


def test_a_writer_that_is_killed_leaves_all_that_it_had_flushed(tmp_path, clock):
    path = tmp_path / "record.db"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), path], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            flushed = 0
            while flushed < 200:
                flushed = int(child.stdout.readline())
        finally:
            os.kill(child.pid, signal.SIGKILL)

    with RecordReader(path) as reader:
        messages = [int(recorded.value.message) for recorded in reader.events()]
        (run,) = reader.runs()
    assert messages[: len(messages)] == list(range(1, len(messages) + 1))
    assert len(messages) >= flushed
    assert run.ended_wall_s is None

    recorder = a_recorder(path, clock)
    recorder.put_event(an_event(clock, "after the crash"))
    recorder.close()
    assert recorder.health.trouble is None
    assert kinds(path)[-1] == "after the crash"
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_reader_that_stays_in_a_transaction_does_not_let_the_log_grow_without_bound(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("mbcasd.accounting.store._LONGEST_LOG_BYTES", 200_000)
    path = tmp_path / "record.db"
    recorder = a_recorder(path, clock)
    run_busy(recorder, clock, seconds=1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM events").fetchone()
    for _ in range(100):
        run_busy(recorder, clock, seconds=1)
    log_bytes = path.with_name("record.db-wal").stat().st_size
    assert "keeps reading an old state" in recorder.health.trouble
    assert log_bytes < 400_000

    other.execute("COMMIT")
    other.close()
    clock.advance(61.0)
    recorder.write_waiting()
    assert recorder.health.trouble is None
    recorder.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no record at .* start `mbcasd local`"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b"\x7fELF" + bytes(200)), "is not a record of mbcasd"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close(), "is not a record"),
    ],
)
def test_what_is_no_record_is_refused_with_what_to_do(tmp_path, make, message):
    path = tmp_path / "record.db"
    make(path)
    before = sorted(tmp_path.iterdir())

    with pytest.raises(ConfigError, match=message):
        RecordReader(path)
    assert sorted(tmp_path.iterdir()) == before


def read_all(path):
    with RecordReader(path) as reader:
        reader.workloads()
        list(reader.samples(WEB))
        list(reader.events())
        list(reader.receipts())


def test_a_record_whose_pages_were_cut_off_is_an_error_and_not_a_traceback(tmp_path, clock):
    path = tmp_path / "record.db"
    recorder = a_recorder(path, clock)
    run_busy(recorder, clock, seconds=20)
    recorder.close()
    os.truncate(path, 4096 * 3)

    with pytest.raises(RecordError):
        read_all(path)
