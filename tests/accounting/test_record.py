import sqlite3

import pytest
from rigs.recording import API, WEB, a_recorder, a_sample, a_workload, run_busy, samples

from mbcasd.accounting.reading import RecordReader
from mbcasd.accounting.record import Recorder
from mbcasd.clock import SteppedClock
from mbcasd.errors import ConfigError
from mbcasd.model.decision import Decision, Event, Observation
from mbcasd.model.demand import Demand
from mbcasd.model.identity import CgroupRef
from mbcasd.model.readings import LimitReading, NodeReading
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus
from mbcasd.model.snapshot import NodeSnapshot


@pytest.fixture
def clock():
    return SteppedClock(now_s=1000.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "record.db"


@pytest.fixture
def recorder(path, clock):
    recorder = a_recorder(path, clock)
    yield recorder
    recorder.close()


def a_demand(need: float = 500.0) -> Demand:
    return Demand(usage_milli=400.0, smoothed_milli=390.0, throttled_ratio=0.25, need_milli=need, stall=None)


def test_what_was_sampled_is_read_back_exactly(recorder, clock, path):
    seen = run_busy(recorder, clock, seconds=5)
    recorder.close()

    with RecordReader(path) as reader:
        assert [recorded.value for recorded in reader.samples(WEB)] == seen
        assert [recorded.wall_s - recorded.at_s for recorded in reader.samples(WEB)] == [
            pytest.approx(clock.wall_s() - clock.now_s())
        ] * len(seen)


def test_a_second_of_one_workload_is_one_row(recorder, clock, path):
    run_busy(recorder, clock, seconds=5)
    recorder.close()

    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (5,)
    connection.close()


def test_a_workload_that_does_nothing_costs_no_rows_and_the_end_of_its_silence_is_known(recorder, clock, path):
    for usage_usec in (100, 100, 100, 100, 100, 900):
        recorder.put_observation(samples(clock.now_s(), {WEB: usage_usec}), clock.now_s())
        clock.advance(1.0)
    recorder.close()

    # Seconds 1001 to 1003 are silent; 1004 is where the silence ended.
    with RecordReader(path) as reader:
        assert [recorded.value for recorded in reader.samples(WEB)] == [
            a_sample(1000.0, 100),
            a_sample(1004.0, 100),
            a_sample(1005.0, 900),
        ]


def test_a_workload_is_announced_once_and_again_when_its_contract_changes(recorder, clock, path):
    for workload in (a_workload(), a_workload(), a_workload(cap=700)):
        recorder.put_observation(Observation(workloads={WEB: workload}), clock.now_s())
        clock.advance(1.0)
    recorder.put_observation(Observation(workloads={}), clock.now_s())
    recorder.close()

    with RecordReader(path) as reader:
        first, second = reader.workloads()
    assert (first.contract.cap_milli, second.contract.cap_milli) == (900, 700)
    assert (first.gone_at_s, second.gone_at_s) == (1002.0, 1003.0)
    assert second.cgroup == CgroupRef(path="/demo/web", inode=7)


def test_a_recreated_cgroup_of_the_same_name_is_another_row(recorder, clock, path):
    recorder.put_observation(Observation(workloads={WEB: a_workload(inode=7)}), clock.now_s())
    recorder.put_observation(Observation(workloads={WEB: a_workload(inode=8)}), clock.now_s())
    recorder.close()

    with RecordReader(path) as reader:
        assert [recorded.cgroup.inode for recorded in reader.workloads()] == [7, 8]


def test_samples_stay_with_the_cgroup_that_they_were_taken_from(recorder, clock, path):
    for inode, usage_usec in ((7, 900), (8, 5)):
        now_s = clock.now_s()
        seen = Observation(workloads={WEB: a_workload(inode=inode)}, samples={WEB: a_sample(now_s, usage_usec)})
        recorder.put_observation(seen, now_s)
        clock.advance(0.1)
    recorder.close()

    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT inode, samples.at_s FROM samples JOIN workloads USING (workload)").fetchall()
    connection.close()
    assert sorted(rows) == [(7, 1000.0), (8, 1000.1)]


def test_limits_and_node_are_recorded_when_they_change(recorder, clock, path):
    for quota_usec in (50_000, 50_000, 80_000):
        limits = {WEB: LimitReading(quota_usec=quota_usec, period_usec=100_000, weight=1024)}
        recorder.put_observation(Observation(limits=limits, node=NodeReading(cpu_milli=2000)), clock.now_s())
        clock.advance(1.0)
    recorder.close()

    with RecordReader(path) as reader:
        assert [recorded.value.limit_milli for recorded in reader.limits(WEB)] == [500, 800]
        assert [recorded.value for recorded in reader.nodes()] == [NodeReading(cpu_milli=2000)]


def test_a_demand_that_hardly_moves_is_not_repeated(recorder, clock, path):
    for need in (500.0, 500.2, 612.0):
        recorder.put_decision(Decision(demands={WEB: a_demand(need)}), clock.now_s())
        clock.advance(1.0)
    recorder.close()

    with RecordReader(path) as reader:
        assert [recorded.value.need_milli for recorded in reader.demands(WEB)] == [500, 612]


def test_resizes_and_events_are_read_back_as_they_happened(recorder, clock, path):
    outcome = ResizeOutcome(
        resize=Resize(workload=WEB, cgroup=CgroupRef(path="/demo/web", inode=7), from_milli=500, to_milli=None),
        status=ResizeStatus.DRIFTED,
        limit=LimitReading(quota_usec=70_000, period_usec=100_000),
        asked_at_s=1000.0,
        ended_at_s=1000.5,
        detail="somebody else set 700m",
    )
    event = Event(at_s=1000.25, kind="drift", workload=WEB, message="left as it is")
    recorder.put_observation(Observation(outcomes=(outcome,)), clock.now_s())
    recorder.put_decision(Decision(events=(event,)), clock.now_s())
    recorder.put_event(Event(at_s=1001.0, kind="capacity", workload=None, message="a CPU went offline"))
    recorder.close()

    with RecordReader(path) as reader:
        assert [recorded.value for recorded in reader.resizes()] == [outcome]
        assert [recorded.value for recorded in reader.events(WEB)] == [event]
        assert [recorded.value.kind for recorded in reader.events()] == ["drift", "capacity"]
        assert list(reader.resizes(API)) == []


def test_the_last_snapshot_is_kept(recorder, clock, path):
    for need in (1.0, 2.0):
        recorder.put_snapshot(
            NodeSnapshot(
                node="node-1",
                version="1",
                run_mode="observe",
                taken_wall_s=0,
                started_wall_s=0,
                cpu_milli=2000,
                capacity_milli=1800,
                limit_capacity_milli=3600,
                need_milli=need,
            )
        )
    recorder.close()

    with RecordReader(path) as reader:
        assert reader.snapshot().need_milli == 2.0


def test_every_start_of_the_daemon_is_a_run_with_its_settings(path):
    for now_s in (1000.0, 2000.0):
        recorder = a_recorder(path, SteppedClock(now_s=now_s, wall_s=now_s + 500), retention_s=9000.0)
        recorder.start()
        recorder.close()

    with RecordReader(path) as reader:
        first, second = reader.runs()
    assert (first.run, second.run, first.started_wall_s, first.ended_wall_s) == (1, 2, 1500, 1500)
    assert '"retention_s":9000.0' in first.settings_json
    assert (first.node, first.version) == ("node-1", "1.2.3")


def test_times_within_a_run_keep_their_order_when_the_wall_clock_jumps(recorder, clock, path):
    run_busy(recorder, clock, seconds=2)
    clock.jump_wall(-86_400.0)
    run_busy(recorder, clock, seconds=2)
    recorder.close()

    with RecordReader(path) as reader:
        recorded = list(reader.samples(WEB))
    assert [r.at_s for r in recorded] == sorted(r.at_s for r in recorded)
    assert recorded[-1].wall_s < recorded[0].wall_s


def test_a_wall_clock_that_leaps_a_year_ahead_deletes_nothing_of_this_boot(recorder, clock, path):
    run_busy(recorder, clock, seconds=2)
    clock.jump_wall(365 * 86_400.0)
    clock.advance(61.0)  # pruning comes once a minute
    run_busy(recorder, clock, seconds=2)
    recorder.close()

    with RecordReader(path) as reader:
        assert len(list(reader.samples(WEB))) == 40


def test_rows_older_than_the_retention_go(path, clock):
    recorder = a_recorder(path, clock, retention_s=120.0)
    for _ in range(4):
        run_busy(recorder, clock, seconds=2)
        clock.advance(61.0)
    recorder.close()

    with RecordReader(path) as reader:
        assert min(recorded.at_s for recorded in reader.samples(WEB)) >= clock.now_s() - 120.0 - 61.0


def test_an_earlier_boot_is_judged_by_the_wall_clock_and_goes_as_a_whole(path, clock):
    recorder = a_recorder(path, clock, retention_s=3600.0)
    recorder._run = recorder._run._replace(boot_id="the boot before")
    run_busy(recorder, clock, seconds=2)
    recorder.close()
    later = SteppedClock(now_s=5.0, wall_s=clock.wall_s() + 7200.0)
    again = a_recorder(path, later, retention_s=3600.0)
    run_busy(again, later, seconds=2)
    again.close()

    with RecordReader(path) as reader:
        assert [run.run for run in reader.runs()] == [2]
        assert {recorded.run for recorded in reader.samples(WEB)} == {2}
        assert {recorded.run for recorded in reader.workloads()} == {2}


def test_the_file_stays_under_its_bound_and_loses_the_oldest_first(path, clock):
    recorder = a_recorder(path, clock, max_bytes=400_000)
    for _ in range(60):
        for i in range(10):
            now_s = clock.now_s()
            noise = {WEB._replace(name=f"w{n}"): (i * n * 7919 + int(now_s * 1000)) for n in range(20)}
            recorder.put_observation(samples(now_s, noise), now_s)
            clock.advance(1.0)
            recorder.write_waiting()
    recorder.close()

    assert recorder.health.dropped == 0
    assert path.stat().st_size <= 400_000
    with RecordReader(path) as reader:
        kept = [recorded.at_s for recorded in reader.samples(WEB._replace(name="w19"))]
    assert kept[0] > 1000.0
    assert kept[-1] == clock.now_s() - 1.0


def test_putting_more_than_may_wait_is_counted_and_never_blocks(recorder, clock):
    many = {WEB._replace(name=str(n)): a_sample(1000.0, n) for n in range(1500)}
    for _ in range(4):
        recorder.put_observation(Observation(samples=many), clock.now_s())
    recorder.write_waiting()

    # 1501 of weight each: two fit under 4000.
    assert recorder.health.dropped == 2 * 1501


def test_the_writer_is_woken_up_before_more_waits_than_may(recorder, clock):
    many = {WEB._replace(name=str(n)): a_sample(1000.0, n) for n in range(1500)}
    recorder.put_observation(Observation(samples=many), clock.now_s())
    assert not recorder._wake.is_set()

    recorder.put_observation(Observation(samples=many), clock.now_s())
    assert recorder._wake.is_set()


def test_a_foreign_file_is_refused_at_the_start_and_left_as_it_is(tmp_path, clock):
    note = tmp_path / "notes.txt"
    note.write_text("do not touch")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = other.read_bytes()

    for path in (note, other):
        with pytest.raises(ConfigError, match="not a record of mbcasd"):
            a_recorder(path, clock).start()
    assert note.read_text() == "do not touch"
    assert other.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt", "other.db"]


def test_a_record_of_a_newer_release_is_refused(path, clock):
    recorder = a_recorder(path, clock)
    recorder.start()
    recorder.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(ConfigError, match="newer release"):
        a_recorder(path, clock).start()
    with pytest.raises(ConfigError, match="newer release"):
        RecordReader(path)


def test_a_record_that_was_deleted_meanwhile_begins_anew_with_everything_known(recorder, clock, path):
    level = Observation(workloads={WEB: a_workload()})
    recorder.put_observation(level, clock.now_s())
    recorder.write_waiting()
    path.unlink()
    recorder.write_waiting()
    recorder.put_observation(level, clock.now_s())
    recorder.close()

    with RecordReader(path) as reader:
        assert [recorded.workload for recorded in reader.workloads()] == [WEB]


def test_others_may_not_read_the_record(recorder, path):
    recorder.write_waiting()

    assert path.stat().st_mode & 0o007 == 0


def test_the_thread_writes_what_was_put_and_close_waits_for_it(path):
    from mbcasd.clock import SystemClock
    from mbcasd.settings import Settings

    clock = SystemClock()
    recorder = Recorder(path, node="n", version="1", settings=Settings(), clock=clock)
    recorder.start()
    recorder.put_event(Event(at_s=clock.now_s(), kind="first", workload=None, message=""))
    assert recorder.flush()
    with RecordReader(path) as reader:
        assert [recorded.value.kind for recorded in reader.events()] == ["first"]
    recorder.put_event(Event(at_s=clock.now_s(), kind="second", workload=None, message=""))
    recorder.close()

    with RecordReader(path) as reader:
        assert [recorded.value.kind for recorded in reader.events()] == ["first", "second"]
        assert reader.runs()[0].ended_wall_s is not None
