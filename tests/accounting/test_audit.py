import zlib

import pytest
from rigs.recording import a_receipt_of, a_record, a_recorder, forge

from mbcasd.accounting import receipts
from mbcasd.accounting.audit import audit
from mbcasd.accounting.reading import RecordReader
from mbcasd.clock import SteppedClock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.db"


def audited(path):
    with RecordReader(path) as reader:
        return audit(reader)


def test_a_record_as_the_daemon_wrote_it_holds(path):
    a_record(path, count=5)

    found = audited(path)

    assert (found.holds, found.receipts, found.runs, found.dropped) == (True, 5, 1, 0)
    assert found.last_wall_s - found.first_wall_s == pytest.approx(20.0)


def test_the_chain_goes_on_over_a_restart(path):
    a_record(path, count=3)
    recorder = a_recorder(path, SteppedClock(now_s=5000.0))
    recorder.put_receipt(a_receipt_of(800, 5000.0))
    recorder.close()

    found = audited(path)

    assert (found.holds, found.receipts, found.runs) == (True, 4, 2)


def test_a_record_without_receipts_holds(path):
    a_record(path, count=0)

    assert audited(path).holds


def test_a_receipt_that_was_removed_is_missed(path):
    a_record(path, count=5)
    forge(path, "DELETE FROM receipts WHERE number = 3")

    found = audited(path)

    assert found.chain_problems == ("1 receipts are missing before number 4",)
    assert found.failed == ()


def test_receipts_that_were_removed_at_either_end_are_missed(path):
    a_record(path, count=5)
    forge(path, "DELETE FROM receipts WHERE number IN (1, 4, 5)")

    assert audited(path).chain_problems == (
        "1 receipts are missing before number 2",
        "2 receipts are missing at the end",
    )


def test_a_receipt_with_another_content_is_found_twice(path):
    a_record(path, count=3)
    with RecordReader(path) as reader:
        other = next(reader.receipts()).value
    written = receipts.encode(other).replace(b'"capacity_milli":1000.0', b'"capacity_milli":1001.0')
    forge(path, "UPDATE receipts SET body = ? WHERE number = 1", zlib.compress(written))

    found = audited(path)

    (failed,) = found.failed
    assert failed.number == 1
    assert any("the content has the id" in problem for problem in failed.problems)
    assert found.chain_problems == ("number 1 was altered after it had been written",)


def test_two_receipts_that_changed_places_are_found(path):
    a_record(path, count=3)
    forge(path, "UPDATE receipts SET number = number + 100")
    forge(path, "UPDATE receipts SET number = CASE number WHEN 101 THEN 2 WHEN 102 THEN 1 ELSE 3 END")

    assert not audited(path).holds


@pytest.mark.parametrize("column", ["receipt_id = 'abc'", "wall_s = wall_s + 1", "at_s = 5", "run = 2", "body = x'00'"])
def test_any_altered_column_is_found(path, column):
    a_record(path, count=3)
    forge(path, f"UPDATE receipts SET {column} WHERE number = 2")

    assert "number 2 was altered after it had been written" in audited(path).chain_problems


def test_a_content_that_cannot_be_read_is_a_failed_receipt_and_the_others_are_still_verified(path):
    a_record(path, count=3)
    forge(path, "UPDATE receipts SET body = x'0102' WHERE number = 2")

    found = audited(path)

    assert [failed.number for failed in found.failed] == [2]
    assert "damaged" in found.failed[0].problems[0]
    assert found.receipts == 3


def test_what_was_dropped_for_its_age_is_not_missing(path):
    clock = SteppedClock(now_s=1000.0)
    recorder = a_recorder(path, clock, retention_s=100.0)
    for i in range(40):
        recorder.put_receipt(a_receipt_of(1000 + i, clock.now_s()))
        clock.advance(5.0)
        recorder.write_waiting()
    recorder.close()

    found = audited(path)

    assert found.holds
    assert found.dropped > 0
    assert found.receipts + found.dropped == 40


def test_a_daemon_that_drops_and_adds_receipts_meanwhile_breaks_nothing(path):
    clock = SteppedClock(now_s=1000.0)
    recorder = a_recorder(path, clock, retention_s=100.0)
    for i in range(12):
        recorder.put_receipt(a_receipt_of(1000 + i, clock.now_s()))
        clock.advance(5.0)
        recorder.write_waiting()

    with RecordReader(path) as reader:
        ends = reader.ends

        def ends_and_then_a_busy_daemon():
            # It works between the moment when the ends are read and the first row.
            found = ends()
            reader.ends = ends
            clock.advance(500.0)
            recorder.put_receipt(a_receipt_of(900, clock.now_s()))
            recorder.write_waiting()
            return found

        reader.ends = ends_and_then_a_busy_daemon
        found = audit(reader)
    recorder.close()
    assert found.chain_problems == ()
