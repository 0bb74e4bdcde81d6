"""What `mbcasd local` costs, and how fast it is, on real cgroups: CPU and memory, throttle onset to new quota.

python tests/bench/bench_daemon.py [--json FILE] [--seconds 20] [--onsets 50]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rigs.kernel import Daemon, Rig, a_daemon, a_rig, wait_until

CHILDREN = 100

# Burns half a millisecond of CPU ten times per second: busy enough to be sampled at 10 Hz, small enough for
# a hundred of them.
NIBBLE = """
import time
ended_s = time.monotonic() + 120
while time.monotonic() < ended_s:
    ends_s = time.thread_time() + 0.0005
    while time.thread_time() < ends_s: pass
    time.sleep(0.1)
"""


def cpu_s(pid: int) -> float:
    """CPU time of all threads, exact to the nanosecond: the ticks of /proc/PID/stat miss or hit whole passes."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def rss_mb(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def cost(daemon: Daemon, seconds: float) -> tuple[float, float]:
    """Millicores over `seconds`, and resident megabytes at the end."""
    time.sleep(8)  # start-up, the first pass of the optimizer, and the time after which idle ones are read seldom
    pid = daemon.process.pid
    began_s, used_s = time.monotonic(), cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - used_s) / (time.monotonic() - began_s) * 1000, rss_mb(pid)


def children_of(rig: Rig, limit_milli: float) -> list[str]:
    names = [f"c{i:03}" for i in range(CHILDREN)]
    for name in names:
        rig.add(name, limit_milli)
    return names


def nibble(rig: Rig, child: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-S", "-c", NIBBLE])
    for root in rig.roots:
        (root / rig.name / child / "cgroup.procs").write_text(str(process.pid))
    return process


def bench_cost(seconds: float, *, hot: bool) -> tuple[float, float]:
    processes = []
    with tempfile.TemporaryDirectory() as state_dir, a_rig() as rig:
        try:
            names = children_of(rig, 200)
            if hot:
                processes.extend(nibble(rig, name) for name in names)
            with a_daemon(rig, Path(state_dir), "--mode", "enforce", "--capacity", "20000m") as daemon:
                return cost(daemon, seconds)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def bench_onsets(count: int, *, idle: bool) -> list[float]:
    """Milliseconds from the first throttled period that the kernel counts to the new quota in the file.

    Each time another container: one that was at work and gets more of it, or one that did nothing before and is
    read only once a second, hence the random moment.
    """
    took_ms = []
    moments = random.Random(1)
    with tempfile.TemporaryDirectory() as state_dir, a_rig() as rig:
        for i in range(count):
            rig.add(f"o{i}", 200)
        with a_daemon(rig, Path(state_dir), "--mode", "enforce", "--capacity", "20000m") as daemon:
            wait_until(lambda: len(daemon.status()["workloads"]) == count, 10, "all are seen")
            time.sleep(4)
            for i in range(count):
                child = f"o{i}"
                if not idle:
                    rig.pace(child, 40)
                    time.sleep(1.2)
                time.sleep(moments.random())
                throttled, before = rig.throttled_periods(child), rig.limit(child) or 0
                rig.burn(child, threads=2)
                wait_until(lambda child=child, n=throttled: rig.throttled_periods(child) > n, 10, "it is throttled")
                raised = wait_until(lambda child=child, low=before: (rig.limit(child) or 0) > low, 10, "it is raised")
                took_ms.append(1000 * raised)
                rig.stop_burning()
    return sorted(took_ms)


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path)
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--onsets", type=int, default=50)
    chosen = options.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench_daemon: needs root to make cgroups")

    calm_milli, calm_mb = bench_cost(chosen.seconds, hot=False)
    hot_milli, hot_mb = bench_cost(chosen.seconds, hot=True)
    busy_ms, idle_ms = bench_onsets(chosen.onsets, idle=False), bench_onsets(chosen.onsets, idle=True)
    rows = [
        ("daemon, 100 calm containers", f"{calm_milli:.1f} m", "must 5, aim 2"),
        ("daemon, 100 hot containers at 10 Hz", f"{hot_milli:.1f} m", "must 20, aim 10"),
        ("daemon, resident memory (hot)", f"{max(calm_mb, hot_mb):.1f} MB", "must 40, aim 30"),
    ]
    for what, ordered in (("was at work", busy_ms), ("was idle", idle_ms)):
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            label = f"throttle onset to new quota, {what}, {name} of {len(ordered)}"
            rows.append((label, f"{quantile(ordered, share):.0f} ms", "aim 300" if name == "p50" else ""))
    for what, value, bound in rows:
        print(f"{what:<56} {value:>10}   {bound}")
    if chosen.json:
        chosen.json.write_text(
            json.dumps(
                {
                    "calm_milli": calm_milli,
                    "hot_milli": hot_milli,
                    "rss_mb": max(calm_mb, hot_mb),
                    "onset_busy_ms": busy_ms,
                    "onset_idle_ms": idle_ms,
                }
            )
        )


if __name__ == "__main__":
    main()
