import os
import threading
import time
from pathlib import Path

from knowing import WEB, a_workload

from mbcasd.clock import SteppedClock
from mbcasd.latency.runqueue import MOST_TASKS, RunQueue, Waited, judge, read_task
from mbcasd.settings import GuardrailSettings


class Quiet(RunQueue):
    """Looks when it is told to and not by itself."""

    def _run(self) -> None:
        return


def a_proc(folder: Path, **tasks: tuple[float, float, int]) -> str:
    """A /proc with tasks t1, t2, …: ran and waited in seconds, times gone to sleep."""
    for name, (ran_s, waited_s, slept) in tasks.items():
        task = folder / name.removeprefix("t")
        task.mkdir(exist_ok=True)
        (task / "schedstat").write_text(f"{ran_s * 1e9:.0f} {waited_s * 1e9:.0f} 999\n")
        (task / "status").write_text(
            f"Name:\tworker\nvoluntary_ctxt_switches:\t{slept}\nnonvoluntary_ctxt_switches:\t5\n"
        )
    return str(folder)


def waited(ran_s: float, waited_s: float, activations: int) -> dict[int, Waited]:
    return {1: Waited(ran_s, waited_s, activations)}


ZERO = waited(0, 0, 0)


def test_work_and_wait_per_activation_are_compared_with_the_objective() -> None:
    # 10 activations, each 20 ms of work and 90 ms of waiting: 110 ms.
    took_s, violated = judge(ZERO, waited(0.2, 0.9, 10), 0.1) or (0, False)

    assert round(took_s, 3) == 0.11
    assert violated


def test_a_task_in_time_keeps_the_objective() -> None:
    assert judge(ZERO, waited(0.2, 0.1, 10), 0.1) == (0.03, False)


def test_a_task_whose_work_alone_takes_longer_is_no_slow_request() -> None:
    assert judge(ZERO, waited(9, 5, 10), 0.1) is None


def test_a_task_that_never_sleeps_or_was_not_there_before_says_nothing() -> None:
    assert judge(ZERO, waited(0.01, 5, 1), 0.1) is None
    assert judge({}, waited(0.2, 0.9, 10), 0.1) is None
    assert judge(ZERO, {}, 0.1) is None


def test_the_task_that_waits_most_decides() -> None:
    before = {1: Waited(0, 0, 0), 2: Waited(0, 0, 0)}

    took_s, violated = judge(before, {1: Waited(0.1, 0, 10), 2: Waited(0.1, 2, 10)}, 0.1) or (0, False)

    assert round(took_s, 3) == 0.21
    assert violated


def test_two_looks_at_a_workload_make_a_reading(tmp_path: Path) -> None:
    proc = a_proc(tmp_path, t7=(1.0, 1.0, 100))
    source = Quiet(GuardrailSettings(), lambda _: (7,), SteppedClock(now_s=3.0), proc)
    source.watch({WEB: a_workload(0.1)})

    source.look()
    assert source.collect() == {}
    a_proc(tmp_path, t7=(1.2, 1.9, 110))
    source.look()

    reading = source.collect()[WEB]
    assert round(reading.p99_s or 0, 3) == 0.11
    assert reading.violated is True
    assert reading.read_at_s == 3.0


def test_what_it_says_is_never_that_there_is_room(tmp_path: Path) -> None:
    proc = a_proc(tmp_path, t7=(1.0, 1.0, 100))
    source = Quiet(GuardrailSettings(), lambda _: (7,), SteppedClock(), proc)
    source.watch({WEB: a_workload(0.1)})
    source.look()
    a_proc(tmp_path, t7=(1.01, 1.0, 110))

    source.look()

    assert source.collect()[WEB].violated is False


def test_tasks_that_cannot_be_seen_are_a_problem_and_no_reading(tmp_path: Path) -> None:
    for tasks in (None, tuple(range(MOST_TASKS + 1))):
        source = Quiet(GuardrailSettings(), lambda _, found=tasks: found, SteppedClock(), str(tmp_path))
        source.watch({WEB: a_workload()})

        source.look()

        assert source.collect() == {}
        assert "shop/web" in source.health.problems[0]


def test_a_task_that_ended_is_passed_over(tmp_path: Path) -> None:
    assert read_task(str(tmp_path), 1) is None
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schedstat").write_text("nonsense\n")
    assert read_task(str(tmp_path), 1) is None


def test_the_kernel_counts_what_this_thread_runs_and_how_often_it_sleeps() -> None:
    task = threading.get_native_id()
    before = read_task("/proc", task)
    ends_s = time.thread_time() + 0.05
    while time.thread_time() < ends_s:
        pass
    for _ in range(5):
        os.sched_yield()
        time.sleep(0.001)
    after = read_task("/proc", task)

    assert before is not None
    assert after is not None
    assert after.ran_s - before.ran_s >= 0.04
    assert after.activations - before.activations >= 5


def test_nothing_is_read_before_there_is_a_workload() -> None:
    source = RunQueue(GuardrailSettings(), lambda _: (), SteppedClock())

    source.watch({})

    assert source._thread is None
