import pytest

from mbcasd.kube.backoff import Backoff, ordinal, sentence


def test_waits_double_with_some_chance_up_to_the_longest():
    for _ in range(20):
        backoff = Backoff(0.8, 30.0)
        waits_s = [backoff.failed() for _ in range(9)]
        for number, wait_s in enumerate(waits_s):
            least_s = 0.8 * 2**number
            assert min(least_s, 30.0) <= wait_s <= min(least_s * 1.5, 30.0)
        assert waits_s[-1] == 30.0


def test_different_clients_come_back_at_different_times():
    assert len({Backoff().failed() for _ in range(50)}) > 45


def test_a_server_that_asks_for_more_gets_it_and_for_less_does_not():
    assert Backoff(1.0, 30.0).failed(120.0) == 120.0
    assert Backoff(1.0, 30.0).failed(0.0) >= 1.0


def test_success_begins_anew():
    backoff = Backoff(1.0, 30.0)
    for _ in range(5):
        backoff.failed()
    backoff.reset()
    assert backoff.failed() <= 1.5


def test_a_year_of_failures_is_no_overflow():
    backoff = Backoff()
    backoff.failures = 10**9
    assert backoff.failed() == 30.0


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (111, "111th"),
    ],
)
def test_tries_are_counted_as_people_do(number, text):
    assert ordinal(number) == text


def test_the_sentence_is_the_one_that_was_agreed_on():
    assert sentence("API server not reachable (connection refused)", 4.2, 3) == (
        "API server not reachable (connection refused), limits stay as they are; next try in 4 s (3rd)"
    )
