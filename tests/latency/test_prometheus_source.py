"""The source that asks: what it does with servers that are dead, slow or lie. Over real HTTP on loopback."""

import json
import socket
import time

import pytest
from fakes.metric_server import MetricServer, a_metric_server, http, says, vector
from knowing import API, WEB, a_workload
from rigs.kernel import wait_until

from mbcasd.clock import SteppedClock, SystemClock
from mbcasd.errors import ConfigError
from mbcasd.latency.prometheus import MOST_QUESTIONS, Prometheus
from mbcasd.model.demand import WorkloadClass
from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import LatencySourceKind
from mbcasd.settings import GuardrailSettings, WorkloadRule


class Quiet(Prometheus):
    """Asks when it is told to and not by itself."""

    def _run(self) -> None:
        return


@pytest.fixture
def server():
    with a_metric_server() as running:
        yield running


def a_source(url: str, *, query: str | None = 'p99{pod="{{pod}}"}', rules=(), clock=None, kind=Quiet, **more):
    guard = GuardrailSettings(prometheus_url=url, slo_query=query, slo_timeout_s=0.3, **more)
    return kind(url, guard, rules, clock or SteppedClock(wall_s=time.time()))


def test_each_workload_is_asked_for_and_its_answer_is_a_reading(server: MetricServer) -> None:
    source = a_source(server.url)
    source.watch({WEB: a_workload(), API: a_workload()})

    source.ask_all()

    readings = source.collect()
    assert server.queries == ['p99{pod="web"}', 'p99{pod="api"}']
    assert {name: reading.p99_s for name, reading in readings.items()} == {WEB: 0.05, API: 0.05}
    assert readings[WEB].source is LatencySourceKind.PROMETHEUS
    assert source.collect() == {}
    assert source.health.is_up
    assert source.health.answers == {"ok": 2}


def test_a_rule_may_ask_in_its_own_way(server: MetricServer) -> None:
    source = a_source(server.url, query=None, rules=(WorkloadRule(match="web*", slo_query="mine"),))
    source.watch({WEB: a_workload(), API: a_workload()})

    source.ask_all()

    assert server.queries == ["mine"]
    assert source.asked == {WEB}


def test_who_is_not_managed_or_has_no_objective_is_not_asked_for(server: MetricServer) -> None:
    source = a_source(server.url)
    source.watch(
        {
            WEB: a_workload(managed=False),
            API: a_workload(None, workload_class=WorkloadClass.BATCH),
            WorkloadId("shop", "db"): a_workload(None),  # the general objective is its own
        }
    )

    source.ask_all()

    assert server.queries == ['p99{pod="db"}']


def test_a_rule_for_a_pod_is_one_for_its_containers(server: MetricServer) -> None:
    source = a_source(server.url, query=None, rules=(WorkloadRule(match="shop/web-1", slo_query="{{container}}"),))
    source.watch({WorkloadId("shop", "web-1", "app"): a_workload()})

    source.ask_all()

    assert server.queries == ["app"]


def drop(connection: socket.socket, _query: str) -> None:
    connection.close()


def dawdle(_connection: socket.socket, _query: str) -> None:
    time.sleep(2)


LIES = {
    "nan": says(http(vector("NaN"))),
    "empty": says(http(vector())),
    "many": says(http(vector(0.1, 0.2))),
    "invalid": says(http(vector(-1))),
    "stale": says(http(vector(0.1, at_s=1_000_000_000))),
    "refused": says(http(json.dumps({"status": "error", "error": "parse error"}), "400 Bad Request")),
    "error": says(http("upstream is away", "502 Bad Gateway")),
    "redirect": says(http("", "301 Moved Permanently", headers="Location: http://127.0.0.1:1/\r\n")),
    "large": says(http(b"x" * 100_000)),
    "malformed": says(http("<html>welcome</html>")),
    "timeout": dawdle,
    "away": drop,
}
# What a Prometheus that works can say.
UP = {"nan", "empty", "many", "invalid", "stale"}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_no_reading_is_counted_and_is_visible(server: MetricServer, lie: str) -> None:
    clock = SteppedClock(wall_s=time.time())
    source = a_source(server.url, clock=clock)
    source.watch({WEB: a_workload()})
    server.behaviour = LIES[lie]

    source.ask_all()
    clock.advance(61)

    assert source.collect() == {}
    health = source.health
    assert health.is_up is (lie in UP)
    assert bool(health.trouble) is (lie not in UP)
    said = [health.trouble, *health.problems]
    assert any(said)
    assert all(line.isprintable() for line in said)
    # A connection that is closed without a word is malformed HTTP or a reset, by chance.
    assert set(health.answers) <= ({lie} if lie != "away" else {"away", "malformed"})


def test_where_nobody_listens_it_says_so_and_recovers_by_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    source = a_source(f"http://127.0.0.1:{port}")
    source.watch({WEB: a_workload()})

    source.ask_all()

    assert source.health.answers == {"away": 1}
    assert "refused" in source.health.trouble


def test_a_server_that_comes_back_is_up_again(server: MetricServer) -> None:
    source = a_source(server.url)
    source.watch({WEB: a_workload()})
    server.behaviour = LIES["error"]
    source.ask_all()
    assert not source.health.is_up

    server.behaviour = says(http(vector(0.2)))
    source.ask_all()

    assert source.health.is_up
    assert source.collect()[WEB].p99_s == 0.2


def test_a_silent_server_is_asked_three_times_per_round_and_not_for_everybody(server: MetricServer) -> None:
    source = a_source(server.url)
    source.watch({WorkloadId("shop", f"w{i}"): a_workload() for i in range(20)})
    server.behaviour = dawdle
    began_s = time.monotonic()

    source.ask_all()

    assert len(server.queries) == 3
    assert time.monotonic() - began_s < 3 * 0.3 + 1


def test_one_wrong_query_does_not_keep_the_others_from_their_answers(server: MetricServer) -> None:
    names = [WorkloadId("shop", f"w{i}") for i in range(6)]
    rules = tuple(WorkloadRule(match=f"w{i}", slo_query="wrong") for i in range(4))
    source = a_source(server.url, query="right", rules=rules)
    source.watch(dict.fromkeys(names, a_workload()))
    right, wrong = says(http(vector(0.1))), LIES["refused"]
    server.behaviour = lambda connection, query: (right if query == "right" else wrong)(connection, query)

    source.ask_all()

    assert set(source.collect()) == set(names[4:])
    assert source.health.is_up


def test_a_round_has_an_upper_bound_that_is_told(server: MetricServer) -> None:
    source = a_source(server.url)
    count = MOST_QUESTIONS + 10
    source.watch({WorkloadId("shop", f"w{i}"): a_workload(None) for i in range(count)})

    source.ask_all()

    assert len(server.queries) == MOST_QUESTIONS
    assert f"{MOST_QUESTIONS} of {count}" in source.health.problems[0]


def test_a_query_that_finds_nobody_is_a_problem_also_where_no_owner_named_an_objective(server: MetricServer) -> None:
    source = a_source(server.url)
    source.watch({WEB: a_workload(None), API: a_workload(None)})
    server.behaviour = LIES["empty"]

    source.ask_all()

    assert source.health.problems == ("prometheus knows the latency of none of 2 workloads: the query finds no series",)


def test_no_traffic_is_no_problem_where_no_owner_named_an_objective(server: MetricServer) -> None:
    clock = SteppedClock(wall_s=time.time())
    source = a_source(server.url, clock=clock)
    source.watch({WEB: a_workload(None)})
    server.behaviour = LIES["nan"]

    source.ask_all()
    clock.advance(600)

    assert source.health.problems == ()


def test_many_problems_are_summed_up(server: MetricServer) -> None:
    clock = SteppedClock(wall_s=time.time())
    source = a_source(server.url, clock=clock)
    source.watch({WorkloadId("shop", f"w{i}"): a_workload() for i in range(30)})
    server.behaviour = LIES["nan"]

    source.ask_all()
    clock.advance(61)

    assert len(source.health.problems) == 6
    assert "25 more" in source.health.problems[-1]


def test_the_thread_asks_at_once_and_never_in_a_hurry(server: MetricServer) -> None:
    source = a_source(server.url, clock=SystemClock(), kind=Prometheus)
    server.behaviour = drop
    try:
        source.watch({WEB: a_workload()})
        wait_until(lambda: bool(source.health.trouble), 5, "the first question is asked")
        asked = len(server.queries)
        began_s = time.monotonic()
        wait_until(lambda: time.monotonic() > began_s + 2, 5, "two seconds pass")
        assert len(server.queries) == asked == 1
    finally:
        source.close()


def test_pauses_grow_while_nobody_answers_and_end_when_somebody_does(server: MetricServer) -> None:
    source = a_source(server.url)
    source.watch({WEB: a_workload()})
    server.behaviour = drop
    pauses_s = []
    for _ in range(8):
        source.ask_all()
        pauses_s.append(source._pause_s)

    server.behaviour = says(http(vector(0.1)))
    source.ask_all()

    assert pauses_s == [15, 30, 60, 120, 240, 300, 300, 300]
    assert source._pause_s == 15


def test_nobody_is_asked_before_there_is_something_to_ask_for(server: MetricServer) -> None:
    source = a_source(server.url, kind=Prometheus)

    source.watch({})

    assert source._thread is None


def test_closing_does_not_wait_for_a_slow_answer(server: MetricServer) -> None:
    source = a_source(server.url, clock=SystemClock(), kind=Prometheus)
    server.behaviour = dawdle
    source.watch({WEB: a_workload()})
    wait_until(lambda: len(server.queries) == 1, 5, "it asks")
    began_s = time.monotonic()

    source.close()

    assert time.monotonic() - began_s < 0.3


def test_what_is_no_url_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="prometheus_url"):
        a_source("http://host:port")
