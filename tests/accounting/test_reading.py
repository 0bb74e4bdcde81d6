import os

import pytest
from rigs.recording import API, WEB, a_receipt_of, a_record, a_recorder, a_workload, run_busy

from mbcasd.accounting import reading
from mbcasd.accounting.reading import RecordReader
from mbcasd.clock import SteppedClock
from mbcasd.errors import ConfigError
from mbcasd.model.decision import Decision, Event, Observation
from mbcasd.model.demand import Demand
from mbcasd.model.identity import WorkloadId
from mbcasd.model.readings import LimitReading


@pytest.fixture
def clock():
    return SteppedClock(now_s=1000.0, wall_s=50_000.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.db"


@pytest.fixture
def recorder(path, clock):
    recorder = a_recorder(path, clock)
    yield recorder
    recorder.close()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("machine.slice/web", WorkloadId("machine.slice", "web")),
        ("web", WorkloadId("machine.slice", "web")),
        ("api:app", WorkloadId("shop", "api", "app")),
        ("shop/api:app", WorkloadId("shop", "api", "app")),
        ("db", WorkloadId("shop", "db", "")),
    ],
)
def test_a_workload_is_found_by_any_unambiguous_end_of_its_name(recorder, clock, path, text, meant):
    known = (
        WorkloadId("machine.slice", "web"),
        WorkloadId("shop", "api", "app"),
        WorkloadId("shop", "api", "sidecar"),
        WorkloadId("shop", "db"),
        WorkloadId("shop", "mydb"),
    )
    recorder.put_observation(Observation(workloads=dict.fromkeys(known, a_workload())), clock.now_s())
    recorder.write_waiting()

    with RecordReader(path) as reader:
        assert reader.find(text) == meant
        with pytest.raises(ConfigError, match=r"may be shop/api:app, shop/api:sidecar: name it in full"):
            reader.find("api")
        with pytest.raises(ConfigError, match=r"it knows machine\.slice/web, shop/api:app"):
            reader.find("nobody")


def test_since_is_wall_time_and_cuts_within_a_row(recorder, clock, path):
    run_busy(recorder, clock, seconds=10)
    recorder.close()

    with RecordReader(path) as reader:
        recent = list(reader.samples(WEB, since_s=clock.wall_s() - 2.55))
    assert len(recent) == 25


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_since_means_the_same_after_somebody_has_set_the_clock(recorder, clock, path, jump_s):
    run_busy(recorder, clock, seconds=10)
    clock.jump_wall(jump_s)
    run_busy(recorder, clock, seconds=3)
    recorder.close()

    # From 1008.05 to 1013, although two of these seconds had another wall time then.
    with RecordReader(path) as reader:
        assert len(list(reader.samples(WEB, since_s=clock.wall_s() - 4.95))) == 49


def test_pages_are_put_together_without_loss_or_repetition(recorder, clock, path, monkeypatch):
    monkeypatch.setattr(reading, "_PAGE", 7)
    for i in range(30):
        # Three events at the same moment, so that a page may end between them.
        for j in range(3):
            recorder.put_event(Event(at_s=clock.now_s(), kind="test", workload=None, message=f"{i}.{j}"))
        clock.advance(1.0)
    for j in range(20):
        recorder.put_event(Event(at_s=clock.now_s(), kind="test", workload=None, message=f"crowd {j}"))
    recorder.write_waiting()

    with RecordReader(path) as reader:
        messages = [recorded.value.message for recorded in reader.events()]
    assert sorted(messages) == sorted(
        [f"{i}.{j}" for i in range(30) for j in range(3)] + [f"crowd {j}" for j in range(20)]
    )


def test_the_history_of_a_workload_is_the_newest_of_each_kind(recorder, clock, path):
    who = WorkloadId("demo", "w1")
    for i in range(3):
        now_s = clock.now_s()
        recorder.put_observation(
            Observation(
                workloads={who: a_workload(cap=900 + i)},
                limits={who: LimitReading(quota_usec=50_000 + i * 1000, period_usec=100_000)},
            ),
            now_s,
        )
        demand = Demand(usage_milli=i * 10, smoothed_milli=0, throttled_ratio=0, need_milli=100 + i * 10, stall=None)
        event = Event(at_s=now_s, kind="guard", workload=who, message=str(i))
        recorder.put_decision(Decision(demands={who: demand}, events=(event,)), now_s)
        recorder.put_receipt(a_receipt_of(1000 + i, now_s))
        clock.advance(5.0)
    recorder.put_receipt(a_receipt_of(500, clock.now_s(), count=1))  # a market without it
    recorder.write_waiting()

    with RecordReader(path) as reader:
        history = reader.history(who, most=2)
        with pytest.raises(ConfigError, match="no workload demo/api"):
            reader.history(API)
    assert history.workload.contract.cap_milli == 902
    assert history.demand.value.need_milli == 120
    assert history.limit.value.limit_milli == 520
    assert history.receipt.value.market.capacity_milli == 1002
    assert [recorded.value.message for recorded in history.events] == ["2", "1"]
    assert history.resizes == ()


def test_receipts_come_in_either_order(path):
    a_record(path, count=120)

    with RecordReader(path) as reader:
        capacities = [recorded.value.market.capacity_milli for recorded in reader.receipts()]
        backwards = [recorded.value.market.capacity_milli for recorded in reader.receipts(newest_first=True)]
        assert reader.count_receipts() == 120
    assert capacities == [1000 + i for i in range(120)]
    assert backwards == capacities[::-1]


def test_a_record_may_have_any_name(tmp_path):
    path = tmp_path / "what? 100%#1.db"
    a_record(path, count=1)

    with RecordReader(path) as reader:
        assert reader.count_receipts() == 1


def test_reading_while_the_daemon_writes_sees_what_was_flushed(recorder, clock, path):
    run_busy(recorder, clock, seconds=2)
    with RecordReader(path) as reader:
        before = len(list(reader.samples(WEB)))
        run_busy(recorder, clock, seconds=2)
        assert len(list(reader.samples(WEB))) > before
    assert recorder.health.trouble is None


def test_a_record_without_a_snapshot_has_none(path):
    a_record(path, count=1)

    with RecordReader(path) as reader:
        assert reader.snapshot() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may not")
def test_somebody_who_may_not_read_it_is_told_what_would_help(tmp_path):
    import subprocess
    import sys

    path = tmp_path / "record.db"
    a_record(path, count=1)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    program = (
        "import os, sys; from mbcasd.accounting.reading import RecordReader; os.setgroups([])\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: RecordReader(sys.argv[1])\n"
        "except Exception as err: print(type(err).__name__, err)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("RecordError")
    assert "Permission denied: run this as root" in done.stdout
