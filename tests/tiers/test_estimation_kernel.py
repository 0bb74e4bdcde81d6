"""What the estimators take for granted, on a real kernel: the identities of throttled time and of pressure."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rigs.kernel import Rig, wait_until

from mbcasd.estimation import reflex, stall, window
from mbcasd.estimation.law import LawSettings, Situation
from mbcasd.model.demand import Advice, StallSplit, WorkloadClass
from mbcasd.model.readings import Interval
from mbcasd.sensing.tree import CgroupTree
from mbcasd.settings import CostSettings, DemandSettings, Preset

pytestmark = pytest.mark.kernel

CPUS = len(os.sched_getaffinity(0))
UNIFIED = Path("/sys/fs/cgroup/unified")
WINDOW_S = 1.5
# A machine that does other things disturbs a window now and then; one clean window proves the identity.
PATIENCE_S = 30.0


class PressureRig(Rig):
    """A rig that on a hybrid host also exists where pressure is measured."""

    def __init__(self) -> None:
        super().__init__()
        if not self.is_v2 and UNIFIED.is_dir():
            # In the middle: the first is where limits are, the last where use is counted.
            self.roots.insert(1, UNIFIED)
            (UNIFIED / self.name).mkdir()

    def burn_on(self, child: str, cpu: int, threads: int = 1) -> None:
        for pid in self.burn(child, threads):
            os.sched_setaffinity(pid, {cpu})

    def watch(self, child: str, window_s: float = WINDOW_S) -> Interval:
        """What a child did while its counters moved for some seconds."""
        tree = CgroupTree.detect()
        reader = tree.open(tree.ref(f"{self.path}/{child}"))
        try:
            wait_until(lambda: self.usage_s(child) > 0.3, 20, f"{child} burns")
            before = reader.sample(time.monotonic())
            wait_until(lambda: time.monotonic() - before.read_at_s >= window_s, window_s + 5, "the window is over")
            seen = window.between(before, reader.sample(time.monotonic()))
        finally:
            reader.close()
        assert seen is not None
        return seen

    def split(self, child: str, limit_milli: float | None, cpus: int = CPUS) -> StallSplit:
        split = stall.split(self.watch(child), limit_milli, cpus)
        assert split is not None
        return split


@pytest.fixture
def rig() -> Iterator[PressureRig]:
    rig = PressureRig()
    try:
        if not any((root / rig.name / "cpu.pressure").exists() for root in rig.roots):
            pytest.skip("this kernel has no pressure per cgroup")
        yield rig
    finally:
        rig.close()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_use_and_throttled_time_add_up_to_what_can_run_at_once(rig: PressureRig, threads: int) -> None:
    rig.add("worker", 300)
    rig.burn("worker", threads)

    def adds_up() -> bool:
        seen = rig.watch("worker")
        together = (seen.usage_usec + seen.throttled_usec) / seen.elapsed_s / 1e6
        return seen.throttled_ratio > 0.9 and together == pytest.approx(min(threads, CPUS), rel=0.1)

    wait_until(adds_up, PATIENCE_S, "use and throttled time add up to min(threads, CPUs)")


def test_a_burner_held_by_its_quota_waits_for_its_limit(rig: PressureRig) -> None:
    rig.add("worker", 500)
    # Pinned: the kernel weighs pressure by CPU, so one that moves between two shows up to half as much.
    rig.burn_on("worker", 0)

    def waits_half_of_the_time_for_its_limit() -> bool:
        split = rig.split("worker", 500)
        return split.limit_ratio > 0.85 and split.stalled_s == pytest.approx(WINDOW_S / 2, rel=0.15)

    wait_until(waits_half_of_the_time_for_its_limit, PATIENCE_S, "all of its waiting is for its limit")


def test_a_burner_beside_another_on_one_cpu_waits_for_its_neighbour(rig: PressureRig) -> None:
    rig.add("worker", None)
    rig.add("other", None)
    rig.burn_on("other", 0)
    rig.burn_on("worker", 0)

    wait_until(lambda: rig.split("worker", None).neighbour_ratio > 0.85, PATIENCE_S, "it waits for its neighbour")


def test_two_burners_on_one_cpu_wait_for_each_other(rig: PressureRig) -> None:
    rig.add("worker", None)
    rig.burn_on("worker", 0, threads=2)

    wait_until(lambda: rig.split("worker", None, cpus=1).self_ratio > 0.85, PATIENCE_S, "they wait for each other")


@pytest.mark.parametrize("with_pressure", [True, False])
def test_the_law_sees_a_throttled_burner_within_a_second_and_not_a_busy_neighbour(
    rig: PressureRig, *, with_pressure: bool
) -> None:
    rig.add("throttled", 300)
    rig.add("crowded", None)
    rig.add("other", None)
    rig.burn_on("throttled", 0)
    rig.burn_on("other", CPUS - 1)
    rig.burn_on("crowded", CPUS - 1)

    assert _first_raise_s(rig, "throttled", 300, with_pressure=with_pressure) < 1.0
    assert _first_raise_s(rig, "crowded", 1000, with_pressure=with_pressure) is None


def _first_raise_s(rig: PressureRig, child: str, limit_milli: float, *, with_pressure: bool) -> float | None:
    """Feed the reflex law with real samples for three seconds; when it first asks for more and was not mistaken."""
    tree = CgroupTree.detect()
    reader = tree.open(tree.ref(f"{rig.path}/{child}"))
    settings = LawSettings(DemandSettings(), CostSettings(), Preset.K, WorkloadClass.STANDARD, cpus=CPUS)
    state, situation = reflex.start(settings), Situation(limit_milli, 100, CPUS * 1000, cpus=CPUS)
    try:
        wait_until(lambda: rig.usage_s(child) > 0.3, 20, f"{child} burns")
        before = reader.sample(time.monotonic())
        began_s, raises = before.read_at_s, []
        while before.read_at_s - began_s < WINDOW_S:
            due_s = before.read_at_s + 0.1
            wait_until(lambda due_s=due_s: time.monotonic() >= due_s, 5, "the next sample is due")
            sample = reader.sample(time.monotonic())
            seen = window.between(before, sample)
            before = sample
            assert seen is not None
            if not with_pressure:
                seen = seen._replace(some_usec=None, full_usec=None)
            state, proposal = reflex.observe(state, seen, situation)
            if proposal.advice is Advice.RAISE:
                raises.append(seen.ended_at_s - began_s)
    finally:
        reader.close()
    # Pressure before any throttling is believed for one period: such a guess ends by itself.
    return raises[0] if len(raises) > 2 else None
