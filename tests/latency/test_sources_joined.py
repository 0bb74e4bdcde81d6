"""All sources as one."""

import pytest
from fakes.metric_server import a_metric_server
from knowing import API, WEB, a_workload
from rigs.kernel import wait_until

from mbcasd.clock import SystemClock
from mbcasd.errors import ConfigError
from mbcasd.latency.sources import Latencies
from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import LatencySourceKind, SloReport
from mbcasd.settings import GuardrailSettings, Settings, WorkloadRule


def settings(**guard: object) -> Settings:
    return Settings(guardrail=GuardrailSettings(**guard))  # type: ignore[arg-type]


@pytest.fixture
def server():
    with a_metric_server() as running:
        yield running


def test_who_pushes_is_not_asked_for(server) -> None:
    sources = Latencies(settings(prometheus_url=server.url, slo_query="{{pod}}"), SystemClock())
    try:
        both = {WEB: a_workload(), API: a_workload()}
        sources._push.watch(both)
        sources.take(SloReport(workload="shop/web", p99_s=0.2))
        sources.watch(both)
        found = {}
        wait_until(lambda: bool(found.update(sources.collect())) or len(found) == 2, 5, "both are known")

        assert found[WEB].source is LatencySourceKind.PUSH
        assert found[API].source is LatencySourceKind.PROMETHEUS
        assert server.queries == ["api"]
        assert [health.kind.value for health in sources.health] == ["prometheus", "push"]
    finally:
        sources.close()


def test_run_queues_are_for_those_with_an_objective_that_nobody_else_knows(server) -> None:
    asked: list[object] = []
    rules = (WorkloadRule(match="web", slo_query="x"),)
    guard = GuardrailSettings(prometheus_url=server.url)
    chosen = Settings(guardrail=guard, workloads=rules)
    sources = Latencies(chosen, SystemClock(), lambda cgroup: asked.append(cgroup) or ())
    try:
        alone = WorkloadId("shop", "alone")
        workloads = {WEB: a_workload(), API: a_workload(None), alone: a_workload(0.2)}
        sources.watch(workloads)

        assert list(sources._run_queue._workloads) == [alone]  # type: ignore[union-attr]
        wait_until(lambda: bool(asked), 5, "its tasks are looked at")
    finally:
        sources.close()


def test_without_settings_no_thread_runs_and_reports_are_still_taken() -> None:
    sources = Latencies(Settings(), SystemClock())
    sources.watch({WEB: a_workload(None)})

    sources.take(SloReport(workload="shop/web", p99_s=0.2))

    assert sources._asking == []
    assert sources.collect()[WEB].p99_s == 0.2


def test_with_the_guardrail_off_nobody_is_asked(server) -> None:
    sources = Latencies(settings(enabled=False, prometheus_url=server.url, slo_query="x"), SystemClock(), lambda _: ())

    sources.watch({WEB: a_workload()})

    assert sources.health == ()
    assert sources.collect() == {}
    assert server.queries == []


def test_a_reload_asks_somebody_else_and_a_bad_one_changes_nothing(server) -> None:
    sources = Latencies(Settings(), SystemClock())
    try:
        sources.reconfigure(settings(prometheus_url=server.url, slo_query="x"))
        sources.watch({WEB: a_workload()})
        wait_until(lambda: bool(sources.collect()), 5, "it is asked")

        with pytest.raises(ConfigError):
            sources.reconfigure(settings(prometheus_url="http://host:port", slo_query="x"))

        assert sources.health[0].place == server.url
    finally:
        sources.close()
