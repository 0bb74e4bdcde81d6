"""Each pod at most once in the queue, one worker at a time, and no waiting that costs anything."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.clock import SteppedClock, SystemClock
from mbcasd.kube.controlling.queue import WorkQueue

A, B, C = ("shop", "a"), ("shop", "b"), ("shop", "c")


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def queue(clock: SteppedClock) -> WorkQueue:
    return WorkQueue(clock)


def take(queue: WorkQueue):
    """What is due at this moment."""
    return queue.take(0.0)


def test_first_marked_is_first_taken_and_often_marked_is_taken_once(queue: WorkQueue) -> None:
    for key in (A, B, A, C, A):
        queue.add(key)

    assert [take(queue) for _ in range(4)] == [A, B, C, None]


def test_what_is_marked_while_it_is_worked_on_comes_again_afterwards_and_not_before(queue: WorkQueue) -> None:
    queue.add(A)
    take(queue)
    queue.add(A)
    queue.add(A)
    assert take(queue) is None

    queue.done(A)

    assert take(queue) == A
    queue.done(A)
    assert take(queue) is None


def test_what_is_due_later_comes_then(queue: WorkQueue, clock: SteppedClock) -> None:
    queue.add_after(A, 5.0)
    queue.add_after(B, 2.0)

    assert take(queue) is None
    clock.advance(2.0)
    assert take(queue) == B
    clock.advance(3.0)
    assert take(queue) == A


def test_the_sooner_of_two_due_times_counts_and_the_other_is_forgotten(queue: WorkQueue, clock: SteppedClock) -> None:
    queue.add_after(A, 5.0)
    queue.add_after(A, 1.0)
    queue.add_after(A, 3.0)
    clock.advance(1.0)
    assert take(queue) == A
    queue.done(A)

    clock.advance(10.0)
    assert take(queue) is None


def test_failures_wait_ever_longer_until_one_success(queue: WorkQueue, clock: SteppedClock) -> None:
    waits = [queue.failed(A) for _ in range(10)]
    assert waits == sorted(waits)
    assert 0.5 <= waits[0] <= 1.0
    assert waits[-1] == 60

    queue.succeeded(A)
    assert queue.failed(A) <= 1.0
    assert queue.failed(A, at_least_s=200) == 200


def test_what_has_just_happened_goes_before_what_was_put_off(queue: WorkQueue, clock: SteppedClock) -> None:
    queue.add_after(A, 1.0)
    clock.advance(1.0)
    queue.add(B)

    assert [take(queue), take(queue)] == [B, A]


def test_what_was_put_off_is_not_put_off_for_ever(queue: WorkQueue, clock: SteppedClock) -> None:
    queue.add_after(A, 1.0)
    clock.advance(6.5)
    queue.add(B)

    assert take(queue) == A


def test_what_was_put_off_takes_few_workers(queue: WorkQueue, clock: SteppedClock) -> None:
    keys = [("shop", str(number)) for number in range(5)]
    for key in keys:
        queue.add_after(key, 1.0)
    clock.advance(1.0)

    taken = [take(queue) for _ in range(5)]
    assert taken == [*keys[:3], None, None]
    queue.add(A)
    assert take(queue) == A

    queue.done(keys[1])
    assert take(queue) == keys[3]


def test_what_was_put_off_and_then_happens_is_taken_once_and_at_once(queue: WorkQueue, clock: SteppedClock) -> None:
    queue.add_after(A, 1.0)
    clock.advance(1.0)
    queue.add(B)
    assert take(queue) == B
    queue.add(A)

    assert [take(queue), take(queue)] == [A, None]


def test_what_becomes_due_while_it_is_worked_on_waits_for_its_worker(queue: WorkQueue, clock: SteppedClock) -> None:
    queue.add(A)
    take(queue)
    queue.add_after(A, 1.0)
    clock.advance(1.0)
    assert take(queue) is None

    queue.done(A)
    assert take(queue) == A


def test_the_failures_of_one_do_not_slow_the_other(queue: WorkQueue) -> None:
    for _ in range(10):
        queue.failed(A)

    assert queue.failed(B) <= 1.0


def test_cleared_is_empty_whatever_was_marked(queue: WorkQueue, clock: SteppedClock) -> None:
    queue.add(A)
    queue.add_after(B, 1.0)
    take(queue)
    queue.add(A)

    queue.clear()
    queue.done(A)
    clock.advance(10)

    assert take(queue) is None
    assert len(queue) == 0


def test_a_closed_queue_lets_all_who_wait_go() -> None:
    queue = WorkQueue(SystemClock())
    took: list[object] = []
    threads = [threading.Thread(target=lambda: took.append(queue.take(60.0))) for _ in range(3)]
    for thread in threads:
        thread.start()

    queue.close()
    for thread in threads:
        thread.join(5)

    assert took == [None, None, None]


def test_waiting_costs_no_cpu() -> None:
    queue = WorkQueue(SystemClock())
    queue.add_after(A, 30.0)
    began_s = time.thread_time()

    assert queue.take(0.3) is None

    assert time.thread_time() - began_s < 0.05


def test_one_who_waits_is_woken_by_what_comes_sooner() -> None:
    queue = WorkQueue(SystemClock())
    queue.add_after(A, 60.0)
    waker = threading.Timer(0.05, lambda: queue.add(B))
    waker.start()

    assert queue.take(30.0) == B
    waker.join()


@given(st.lists(st.tuples(st.sampled_from(["add", "later", "take", "done", "pass"]), st.sampled_from([A, B, C]))))
def test_nothing_marked_is_lost_and_nothing_is_worked_on_twice_at_a_time(steps) -> None:
    clock = SteppedClock()
    queue = WorkQueue(clock)
    owed: set = set()
    working: set = set()
    for step, key in steps:
        if step == "add":
            queue.add(key)
            owed.add(key)
        elif step == "later":
            queue.add_after(key, 1.0)
            owed.add(key)
        elif step == "pass":
            clock.advance(1.0)
        elif step == "take":
            got = take(queue)
            if got is not None:
                assert got not in working
                working.add(got)
                owed.discard(got)
        elif key in working:
            working.discard(key)
            queue.done(key)
    for key in working:
        queue.done(key)
    clock.advance(2.0)

    rest = set()
    while (got := take(queue)) is not None:
        rest.add(got)
    assert owed <= rest


def test_many_workers_do_each_once_and_all() -> None:
    queue = WorkQueue(SystemClock())
    keys = [("shop", str(number)) for number in range(500)]
    done: list[object] = []

    def work() -> None:
        while (key := queue.take(0.5)) is not None:
            done.append(key)
            queue.done(key)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for key in keys:
        queue.add(key)
    for thread in threads:
        thread.join(20)

    assert sorted(set(done)) == sorted(keys)
