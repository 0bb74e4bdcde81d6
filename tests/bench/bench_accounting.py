"""What accounting costs: recording a hundred busy containers, rendering a scrape, and the memory of its imports.

python tests/bench/bench_accounting.py [--json FILE] [--seconds 60]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mbcasd.accounting import receipts
from mbcasd.accounting.metrics import Metrics
from mbcasd.accounting.record import Recorder
from mbcasd.allocation.market import clear
from mbcasd.clock import SteppedClock
from mbcasd.model.decision import Decision, Observation, Workload
from mbcasd.model.demand import Contract, Demand, StallSplit
from mbcasd.model.identity import CgroupRef, WorkloadId
from mbcasd.model.market import Bid, Market
from mbcasd.model.readings import CpuSample, LimitReading
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot
from mbcasd.settings import Settings

WORKLOADS = tuple(WorkloadId("demo", f"worker-{i:03}") for i in range(100))

# Each is started in an interpreter of its own; the difference to the line before is what it costs.
IMPORTS = {
    "python": "pass",
    "sqlite3, msgspec, logging, threading": "import sqlite3, msgspec, logging, threading",
    "… and hashlib": "import sqlite3, msgspec, logging, threading, hashlib",
    "… and prometheus_client as we import it": "import sqlite3, msgspec, logging, hashlib, mbcasd.accounting.metrics",
    "… and the record, the server": "import mbcasd.accounting.metrics, mbcasd.accounting.record, mbcasd.serving.server",
    "instead: all of prometheus_client and http.server": (
        "import prometheus_client, http.server, mbcasd.accounting.record, mbcasd.accounting.metrics"
    ),
}


def rss_mb(imports: str) -> float:
    program = f"{imports}\nprint([l for l in open('/proc/self/status') if l.startswith('VmRSS')][0].split()[1])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1000


def median_ms(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began_s = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(taken)


def a_sample(at_s: float, tick: int, i: int) -> CpuSample:
    used_usec = 10**9 + tick * 50_000 + i
    return CpuSample(
        at_s + i * 5e-6, used_usec, 10**5 + tick, 10**4 + tick // 2, 10**8 + tick * 20_000, used_usec, tick
    )


def a_market() -> Market:
    bids = tuple(
        Bid(name=str(who), floor_milli=20, cap_milli=100 + 7.31 * i, weight=1 + i % 3)
        for i, who in enumerate(WORKLOADS)
    )
    return Market(capacity_milli=14_000, bids=bids)


def bench_record(seconds: int, *, hot: bool) -> dict[str, float]:
    """CPU of both threads, per second of the daemon's life, and what reaches the disk."""
    clock = SteppedClock(now_s=1000.0)
    passes = 10 if hot else 1
    market = a_market()
    clearing = clear(market)
    loop_s = writer_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.db"
        recorder = Recorder(path, node="bench", version="0", settings=Settings(), clock=clock)
        recorder.put_observation(
            Observation(
                workloads={
                    who: Workload(
                        cgroup=CgroupRef(path=f"/{who}", inode=1), contract=Contract(floor_milli=20, cap_milli=900)
                    )
                    for who in WORKLOADS
                },
                limits={who: LimitReading(quota_usec=50_000, period_usec=100_000) for who in WORKLOADS},
            ),
            clock.now_s(),
        )
        recorder.write_waiting()
        for second in range(seconds):
            for tick in range(second * passes, (second + 1) * passes):
                now_s = clock.now_s()
                # A calm container's counters move, but seldom: one in ten does something.
                busy = WORKLOADS if hot else WORKLOADS[::10]
                seen = Observation(samples={who: a_sample(now_s, tick, i) for i, who in enumerate(busy)})
                began_s = time.thread_time()
                recorder.put_observation(seen, now_s)
                loop_s += time.thread_time() - began_s
                clock.advance(1 / passes)
            stall = StallSplit(limit_ratio=0.9, neighbour_ratio=0.1, self_ratio=0.0, stalled_s=second)
            demands = {
                who: Demand(
                    usage_milli=500 + second, smoothed_milli=500, throttled_ratio=0.1, need_milli=700, stall=stall
                )
                for who in busy
            }
            began_s = time.thread_time()
            recorder.put_decision(Decision(demands=demands), clock.now_s())
            if second % 5 == 0:
                recorder.put_receipt(receipts.make(market, clearing, "optimizer", clock.now_s()))
            loop_s += time.thread_time() - began_s
            began_s = time.thread_time()
            recorder.write_waiting()
            writer_s += time.thread_time() - began_s
        recorder.close()
        size_bytes = path.stat().st_size
    assert recorder.health.dropped == 0
    return {
        "loop_millicores": loop_s / seconds * 1000,
        "writer_millicores": writer_s / seconds * 1000,
        "kilobytes_per_second": size_bytes / seconds / 1000,
    }


def a_picture() -> NodeSnapshot:
    return NodeSnapshot(
        node="bench",
        version="0",
        run_mode="enforce",
        taken_wall_s=0,
        started_wall_s=0,
        cpu_milli=16_000,
        capacity_milli=14_000,
        limit_capacity_milli=28_000,
        market_mode="congested",
        price=0.004,
        workloads=tuple(
            WorkloadSnapshot(
                namespace=who.namespace,
                name=who.name,
                cgroup=f"/{who}",
                managed=True,
                usage_milli=123.456789,
                stall_limit_ratio=0.9,
                stall_neighbour_ratio=0.1,
                stall_self_ratio=0.0,
                need_milli=456.789,
                limit_milli=500.0,
                target_milli=500.0,
                utility=0.5,
            )
            for who in WORKLOADS
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--seconds", type=int, default=60, help="of recording to simulate")
    options = parser.parse_args()

    metrics = Metrics("bench", "0")
    metrics.publish(a_picture())
    market = a_market()
    clearing = clear(market)
    receipt = receipts.make(market, clearing, "optimizer", 1.0)
    record = {name: bench_record(options.seconds, hot=hot) for name, hot in (("hot", True), ("calm", False))}
    found = {
        "record": record,
        "render_ms": median_ms(metrics.render, 50),
        "render_kilobytes": len(metrics.render()) / 1000,
        "publish_ms": median_ms(lambda: metrics.publish(a_picture()), 50),
        "make_receipt_ms": median_ms(lambda: receipts.make(market, clearing, "optimizer", 1.0), 50),
        "verify_receipt_ms": median_ms(lambda: receipts.verify(receipt), 50),
        "resident_mb": {name: rss_mb(imports) for name, imports in IMPORTS.items()},
    }

    print("\nrecording 100 containers           loop      writer    on disk")
    for name, cost in record.items():
        how = "all hot, 10 samples/s" if name == "hot" else "calm, 1 in 10 moves"
        print(
            f"  {how:28}  {cost['loop_millicores']:6.2f} m  {cost['writer_millicores']:6.2f} m"
            f"  {cost['kilobytes_per_second']:6.1f} kB/s"
        )
    print(f"\n/metrics of 100 workloads      {found['render_ms']:6.2f} ms, {found['render_kilobytes']:.0f} kB")
    print(f"receipt of 100 bids, made      {found['make_receipt_ms']:6.2f} ms")
    print(f"receipt of 100 bids, verified  {found['verify_receipt_ms']:6.2f} ms")
    print("\nresident memory after import")
    for name, mb in found["resident_mb"].items():
        print(f"  {name:52} {mb:5.1f} MB")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
