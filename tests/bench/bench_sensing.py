# ruff: noqa: PTH123 - opening a file the quick way is what is compared
"""What it costs to read cgroups, on a hundred real ones: kept handles against opening files each time.

    python tests/bench/bench_sensing.py [--json FILE] [--cgroups 100] [--rounds 200]

Every figure is the median of all rounds, in which the ways alternate, so that a busy machine is busy for all of them.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rigs.kernel import Rig, a_rig, wait_until

from mbcasd.sensing import parse
from mbcasd.sensing.capacity import NodeReader
from mbcasd.sensing.reader import CgroupReader
from mbcasd.sensing.tree import CgroupTree

MUST_MS = 1.0


@contextlib.contextmanager
def lively(rig: Rig, tree: CgroupTree, names: list[str]) -> Iterator[None]:
    """One sleeping process in each cgroup, also where pressure is, so that all files say something."""
    unified = None if rig.is_v2 or tree.mounts.unified is None else Path(tree.mounts.unified + rig.path)
    homes = [root / rig.name for root in rig.roots] + ([unified] if unified is not None else [])
    sleepers = []
    try:
        for name in names:
            if unified is not None:
                (unified / name).mkdir(parents=True, exist_ok=True)
            sleepers.append(subprocess.Popen(["sleep", "3600"]))
            for home in homes:
                (home / name / "cgroup.procs").write_text(str(sleepers[-1].pid))
        yield
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
        if unified is not None and unified.exists():
            for directory in [*unified.iterdir()]:
                if directory.is_dir():
                    wait_until(lambda d=directory: "populated 0" in (d / "cgroup.events").read_text(), 5, "it is empty")
                    directory.rmdir()
            unified.rmdir()


def opened_each_time(tree: CgroupTree, path: str) -> None:
    """The same figures as a sample, the obvious way."""
    cpu, accounts = tree.mounts.cpu + path, tree.mounts.cpuacct + path
    if tree.mounts.cpu == tree.mounts.unified:
        with open(f"{cpu}/cpu.stat", "rb") as file:
            parse.cpu_stat_v2(file.read())
    else:
        with open(f"{cpu}/cpu.stat", "rb") as file:
            parse.cpu_stat_v1(file.read())
        with open(f"{accounts}/cpuacct.usage", "rb") as file:
            parse.cpuacct_usage(file.read())
    if tree.mounts.unified is not None:
        with open(f"{tree.mounts.unified}{path}/cpu.pressure", "rb") as file:
            parse.pressure(file.read())


def time_us(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e6


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path)
    options.add_argument("--cgroups", type=int, default=100)
    options.add_argument("--rounds", type=int, default=200)
    chosen = options.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench_sensing: needs root to make cgroups")

    tree, node = CgroupTree.detect(), NodeReader()
    names = [f"c{i}" for i in range(chosen.cgroups)]
    with a_rig() as rig:
        for name in names:
            rig.add(name, 500)
        with lively(rig, tree, names):
            refs = tree.children(rig.path)
            readers: list[CgroupReader] = []
            opening_us = time_us(lambda: readers.extend(tree.open(ref) for ref in refs.values()))
            ways: dict[str, Callable[[], object]] = {
                "sample": lambda: [reader.sample(0.0) for reader in readers],
                "limit, read back": lambda: [reader.limit() for reader in readers],
                "sample, opening files each time": lambda: [opened_each_time(tree, ref.path) for ref in refs.values()],
                "listing": lambda: tree.children(rig.path),
            }
            has_pressure = readers[0].sample(0.0).some_usec is not None
            rounds = [{way: time_us(action) for way, action in ways.items()} for _ in range(chosen.rounds)]
            node_us = statistics.median(time_us(node.read) for _ in range(chosen.rounds))
            for reader in readers:
                reader.close()
    medians_us = {way: statistics.median(each[way] for each in rounds) for way in ways}
    medians_us["opening"] = opening_us

    sample_us, opened_us = medians_us["sample"], medians_us["sample, opening files each time"]
    count = len(names)
    print(f"{count} cgroups {tree.mounts.version.value}, pressure {'on' if has_pressure else 'off'}")
    for way, us in medians_us.items():
        print(f"{way:<34} {us / count:>8.2f} µs per cgroup {us / 1000:>8.3f} ms in all")
    print(f"{'whole node':<34} {node_us:>8.2f} µs")
    print(
        f"{count} samples: {sample_us / 1000:.2f} ms (must {MUST_MS:g} for 100), "
        f"{opened_us / sample_us:.1f} times as fast as opening files each time"
    )
    if chosen.json:
        chosen.json.write_text(
            json.dumps(
                {
                    "cgroups": count,
                    "pressure": has_pressure,
                    "us_per_cgroup": {way: us / count for way, us in medians_us.items()},
                    "node_us": node_us,
                    "sample_all_ms": sample_us / 1000,
                    "times_as_fast_as_opening": opened_us / sample_us,
                },
                indent=2,
            )
        )


if __name__ == "__main__":
    main()
