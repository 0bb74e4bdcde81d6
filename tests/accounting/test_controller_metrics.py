"""What a scrape of the controller sees."""

from mbcasd.accounting.controller_metrics import ControllerMetrics, Present


def lines(metrics: ControllerMetrics) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if not line.startswith("#")]


def a_scrape(metrics: ControllerMetrics) -> dict[str, float]:
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines(metrics))}


def test_outcomes_are_counted_per_pod_and_confirmed_ones_are_timed() -> None:
    metrics = ControllerMetrics("1.2.3")
    metrics.count("shop", "web", "applied", 0.08)
    metrics.count("shop", "web", "applied", 0.3)
    metrics.count("shop", "web", "quota", None)

    seen = a_scrape(metrics)

    assert seen['mbcas_resize_total{namespace="shop",pod="web",result="applied"}'] == 2
    assert seen['mbcas_resize_total{namespace="shop",pod="web",result="quota"}'] == 1
    assert seen["mbcas_resize_duration_seconds_count"] == 2
    assert seen['mbcas_resize_duration_seconds_bucket{le="0.1"}'] == 1


def test_rules_at_work_and_strangers_have_series_of_their_own() -> None:
    metrics = ControllerMetrics("1.2.3")
    for kind in ("cooldown", "step", "step", "drift"):
        metrics.count("shop", "web", kind, None)

    seen = a_scrape(metrics)

    assert seen["mbcas_cooldown_violations_total"] == 1
    assert seen["mbcas_step_size_violations_total"] == 2
    assert seen['mbcas_drift_total{by="other"}'] == 1
    assert not any(series.startswith("mbcas_resize_total") for series in seen)


def test_a_pod_that_is_gone_takes_its_series_with_it() -> None:
    metrics = ControllerMetrics("1.2.3")
    metrics.count("shop", "web", "applied", 0.1)
    metrics.count("shop", "api", "applied", 0.1)

    metrics.forget("shop", "web")
    assert [line for line in lines(metrics) if line.startswith("mbcas_resize_total")] == [
        'mbcas_resize_total{namespace="shop",pod="api",result="applied"} 1.0'
    ]

    metrics.forget_all()
    assert not any(line.startswith("mbcas_resize_total") for line in lines(metrics))


def test_what_there_is_now_is_asked_at_each_scrape() -> None:
    metrics = ControllerMetrics("1.2.3")
    assert not any(line.startswith("mbcas_leader") for line in lines(metrics))

    metrics.present = lambda: Present(True, 3, {"Applied": 2, "": 1}, {("PATCH", 200): 7, ("GET", 0): 1})
    seen = a_scrape(metrics)

    assert seen["mbcas_leader"] == 1
    assert seen["mbcas_queue_depth"] == 3
    assert seen['mbcas_allocations{phase="Applied"}'] == 2
    assert seen['mbcas_api_requests_total{code="200",method="PATCH"}'] == 7
    assert seen['mbcas_api_requests_total{code="0",method="GET"}'] == 1


def test_a_refused_configuration_is_counted() -> None:
    metrics = ControllerMetrics("1.2.3")
    metrics.count_refused_config()

    assert a_scrape(metrics)["mbcas_config_refused_total"] == 1
