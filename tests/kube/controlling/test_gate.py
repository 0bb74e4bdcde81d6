"""A request goes out for the leader only, within the budget, and to a server that answers."""

import itertools
import threading

import pytest

from mbcasd.clock import SteppedClock
from mbcasd.errors import ApiAway, ApiRefused
from mbcasd.kube.budget import Budget
from mbcasd.kube.controlling.gate import REMAINING_S, UNSURE_S, WRITE_TIMEOUT_S, Gate


class Leads:
    """Somebody who may write for so long."""

    def __init__(self, remaining_s: float = 10.0) -> None:
        self.left_s = remaining_s

    def remaining_s(self) -> float:
        return self.left_s


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(1000.0)


def a_gate(clock: SteppedClock, leads: Leads | None = None, *, per_s: float = 100, burst: float = 100) -> Gate:
    return Gate(leads or Leads(), Budget(per_s, burst, clock=clock), clock)


def test_the_leader_may_write_and_nobody_else(clock: SteppedClock) -> None:
    leads = Leads()
    gate = a_gate(clock, leads)
    assert gate.closed_for_s() == 0

    leads.left_s = 0.0
    assert gate.closed_for_s() == UNSURE_S


def test_a_write_begins_only_if_it_ends_before_the_leadership_does() -> None:
    assert WRITE_TIMEOUT_S < REMAINING_S


def test_a_leadership_that_ends_while_waiting_for_the_budget_is_noticed(clock: SteppedClock) -> None:
    leads = Leads(REMAINING_S)
    gate = a_gate(clock, leads)

    assert gate.closed_for_s() > 0


def test_a_used_up_budget_is_not_waited_for_longer_than_a_request_may_take(clock: SteppedClock) -> None:
    gate = a_gate(clock, per_s=0.1, burst=2)

    assert [gate.closed_for_s() for _ in range(3)] == [0, 0, UNSURE_S]


def test_while_the_server_is_away_all_wait_together_ever_longer(clock: SteppedClock) -> None:
    gate = a_gate(clock)
    waits = []
    for _ in range(8):
        for _ in range(12):  # as many workers fail at the same time
            gate.failed(ApiAway("connection refused"))
        waits.append(gate.closed_for_s())
        clock.advance(waits[-1] + 1e-6)
        assert gate.closed_for_s() == 0

    assert all(later_s > earlier_s - 1e-6 for earlier_s, later_s in itertools.pairwise(waits))
    assert 0.5 <= waits[0] <= 0.75
    assert waits[-1] == pytest.approx(10)


def test_one_answer_opens_it_again(clock: SteppedClock) -> None:
    gate = a_gate(clock)
    gate.failed(ApiAway("connection refused"))

    gate.succeeded()

    assert gate.closed_for_s() == 0
    gate.failed(ApiAway("connection refused"))
    assert gate.closed_for_s() < 1


def test_a_server_that_asks_for_patience_gets_it(clock: SteppedClock) -> None:
    gate = a_gate(clock)

    gate.failed(ApiRefused(429, "TooManyRequests", "", retry_after_s=7.0))

    assert gate.closed_for_s() == 7


def test_the_refusal_of_one_request_concerns_no_other(clock: SteppedClock) -> None:
    gate = a_gate(clock)

    gate.failed(ApiRefused(403, "Forbidden", "exceeded quota"))
    gate.failed(ApiRefused(500, "", "internal error"))

    assert gate.closed_for_s() == 0


def test_once_closed_nothing_goes_out_and_nobody_waits(clock: SteppedClock) -> None:
    gate = a_gate(clock, per_s=0.5, burst=1)
    gate.closed_for_s()
    took: list[float] = []
    waits = threading.Thread(target=lambda: took.append(gate.closed_for_s()))  # for 2 s, if nothing happens
    waits.start()

    gate.close()
    waits.join(1.0)

    assert took == [UNSURE_S]
    assert gate.closed_for_s() == UNSURE_S
