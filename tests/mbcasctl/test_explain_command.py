import json
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import a_busy_row, a_picture
from rigs.recording import WEB, a_recorder, forge

from mbcasd.accounting import receipts
from mbcasd.accounting.reading import RecordReader
from mbcasd.allocation.market import clear
from mbcasd.clock import SteppedClock
from mbcasd.model.decision import Decision, Event, Observation, Workload
from mbcasd.model.demand import Contract, Demand
from mbcasd.model.identity import CgroupRef
from mbcasd.model.market import Bid, Market
from mbcasd.model.readings import CpuSample, LimitReading
from mbcasd.model.resizing import Resize, ResizeOutcome, ResizeStatus


def explain(*arguments: object):
    return subprocess.run(
        [sys.executable, "-m", "mbcasctl", "explain", *map(str, arguments)], check=False, capture_output=True, text=True
    )


CGROUP = CgroupRef(path="/demo/web", inode=7)
CONTRACT = Contract(floor_milli=100, cap_milli=2000, weight=2, owner_limit_milli=500)


def a_run(path: Path, *, ends_with: str = "all is well", seconds: int = 70) -> None:
    """A minute and more of a workload that uses 800m, was lifted from 500m and is held at 900m by the price."""
    clock = SteppedClock(now_s=1000.0)
    recorder = a_recorder(path, clock)
    workload = Workload(cgroup=CGROUP, contract=CONTRACT)
    limit = LimitReading(quota_usec=90_000, period_usec=100_000)
    recorder.put_observation(Observation(workloads={WEB: workload}, limits={WEB: limit}), clock.now_s())
    for tick in range(seconds * 10):
        sample = CpuSample(clock.now_s(), tick * 80_000 + 1, tick, tick // 10, tick * 1000)
        recorder.put_observation(Observation(samples={WEB: sample}), clock.now_s())
        clock.advance(0.1)
        if tick % 10 == 9:
            recorder.write_waiting()
    bids = (
        Bid(name="demo/web", floor_milli=100, cap_milli=1300, weight=2),
        Bid(name="demo/noise", floor_milli=100, cap_milli=2000),
    )
    market = Market(capacity_milli=1400, bids=bids)
    recorder.put_receipt(receipts.make(market, clear(market), "stall demo/web", clock.now_s()))
    demand = Demand(usage_milli=800, smoothed_milli=790, throttled_ratio=0.2, need_milli=1300, stall=None)
    event = Event(at_s=clock.now_s(), kind="guard", workload=WEB, message="throttled in 62 % of 20 periods")
    recorder.put_decision(Decision(demands={WEB: demand}, events=(event,)), clock.now_s())
    resize = Resize(workload=WEB, cgroup=CGROUP, from_milli=500, to_milli=900)
    outcome = ResizeOutcome(
        resize=resize,
        status=ResizeStatus.APPLIED,
        limit=limit,
        asked_at_s=clock.now_s() - 0.02,
        ended_at_s=clock.now_s(),
    )
    recorder.put_observation(Observation(outcomes=(outcome,)), clock.now_s())
    if ends_with != "no picture":
        row = a_busy_row(
            "web", namespace="demo", limit_milli=900.0, need_milli=1300.0, held_by="price", cap_milli=2000.0
        )
        rows = () if ends_with == "it is gone" else (row,)
        recorder.put_snapshot(a_picture(*rows, taken_wall_s=clock.wall_s(), cpu_milli=2000.0))
    recorder.close()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("record") / "record.db"
    a_run(path)
    return path


def test_a_record_explains_what_was_seen_asked_given_and_done(record: Path) -> None:
    done = explain("web", "--record", record)

    assert (done.returncode, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    assert "demo/web on node-1" in words
    assert "✓" in words
    assert "It may use 900m. It would need 1300m. CPU is scarce" in words
    # 1200 of surplus, two thirds of it for weight 2: 100 + 800.
    assert "nash gives floor 100m + weight 2 / price = 900m" in words
    assert "throttled in 62 % of 20 periods" in words
    assert "500m → 900m" in words
    assert "in the cgroup 20 ms later" in words
    assert "the owner's limit 500m (100 % throttled)" in words
    assert "VPA" in words
    assert "captain" in words
    assert "To give it more: raise its weight from 2 to 3 (gives 1000m) or cap demo/noise at" in words


def test_json_is_the_same_in_figures(record: Path) -> None:
    done = explain("demo/web", "--record", record, "-o", "json", "--vs", "static,reflex")

    found = json.loads(done.stdout)
    assert found["share"]["given_milli"] == pytest.approx(900)
    assert found["receipt_holds"] is True
    assert [result["policy"] for result in found["without"]] == ["static", "reflex"]
    assert found["replayed_s"] == pytest.approx(69.9, abs=0.2)
    assert found["missing"] == []


def test_the_past_can_be_shortened(record: Path) -> None:
    found = json.loads(explain("web", "--record", record, "-o", "json", "--since", "10s").stdout)

    assert 9 <= found["replayed_s"] <= 12


def test_a_workload_that_is_gone_is_explained_as_it_was_last_seen(tmp_path: Path) -> None:
    a_run(tmp_path / "record.db", ends_with="it is gone", seconds=5)

    done = explain("web", "--record", tmp_path / "record.db")

    assert done.returncode == 0
    assert "It does not exist any more" in done.stdout
    assert "usage 800m" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("wbe",), "did you mean demo/web"),
        (("web", "--vs", "magic"), "'magic' is no policy; there are static, vpa, captain, usage, tobit, reflex"),
        (("web", "--since", "soon"), "--since: 'soon' is not a duration"),
    ],
)
def test_wrong_input_is_refused_with_the_remedy(record: Path, arguments, words) -> None:
    done = explain(*arguments, "--record", record)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_record_and_an_absent_daemon_are_told_apart(tmp_path: Path) -> None:
    no_record = explain("web", "--record", tmp_path / "none.db")
    no_daemon = explain("web", "--socket", tmp_path / "none.sock")

    assert no_record.returncode == 2
    assert no_daemon.returncode == 1
    assert "no daemon answers" in no_daemon.stderr


def test_a_record_without_a_picture_says_when_there_will_be_one(tmp_path: Path) -> None:
    a_run(tmp_path / "record.db", ends_with="no picture", seconds=2)

    done = explain("web", "--record", tmp_path / "record.db")

    assert done.returncode == 1
    assert "no picture yet" in done.stderr


def test_a_forged_receipt_is_said_not_to_hold(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    a_run(path, seconds=2)

    with RecordReader(path) as reader:
        (found,) = reader.receipts()
    changed = replace(found.value, trigger="optimizer")
    forge(path, "UPDATE receipts SET body = ?", zlib.compress(receipts.encode(changed)))

    done = explain("web", "--record", path)

    assert "DOES NOT HOLD" in done.stdout
