import math
import re
import subprocess
import sys
import threading

import pytest
from builders import a_bid
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from mbcasd.accounting.metrics import Metrics
from mbcasd.allocation.market import clear
from mbcasd.model.market import Market
from mbcasd.model.snapshot import LatencySourceSnapshot, NodeSnapshot, WorkloadSnapshot

# The contract (design §7): name, type, labels.
CONTRACT = {
    "mbcas_demand_raw": ("gauge", {"namespace", "pod"}),
    "mbcas_demand_smoothed": ("gauge", {"namespace", "pod"}),
    "mbcas_allocation_milli": ("gauge", {"namespace", "pod"}),
    "mbcas_allocation_mode": ("gauge", {"node"}),
    "mbcas_allocation_compute_duration_seconds": ("histogram", set()),
    "mbcas_cgroup_read_duration_seconds": ("histogram", set()),
    "mbcas_pod_discovery_duration_seconds": ("histogram", set()),
    "mbcas_nash_product_log": ("gauge", {"node"}),
    "mbcas_nash_solver_iterations": ("gauge", set()),
    "mbcas_shadow_price_cpu": ("gauge", {"node"}),
    "mbcas_utility": ("gauge", {"namespace", "pod"}),
    "mbcas_resize_total": ("counter", {"namespace", "pod", "result"}),
    "mbcas_resize_duration_seconds": ("histogram", set()),
    "mbcas_cooldown_violations_total": ("counter", set()),
    "mbcas_step_size_violations_total": ("counter", set()),
    "mbcas_fast_guardrail_triggers_total": ("counter", set()),
    "mbcas_fast_guardrail_latency_ms": ("histogram", set()),
    "mbcas_need_milli": ("gauge", {"namespace", "pod"}),
    "mbcas_limit_milli": ("gauge", {"namespace", "pod"}),
    "mbcas_throttled_ratio": ("gauge", {"namespace", "pod"}),
    "mbcas_stall_ratio": ("gauge", {"namespace", "pod", "cause"}),
    "mbcas_capacity_milli": ("gauge", set()),
    "mbcas_receipts_failed_total": ("counter", set()),
    "mbcas_drift_total": ("counter", {"by"}),
    "mbcas_allocation_writes_total": ("counter", {"result"}),
    "mbcas_quota_leak_ratio": ("gauge", set()),
    "mbcas_loop_lateness_seconds": ("histogram", {"loop"}),
    "mbcas_build_info": ("gauge", {"version", "python"}),
}
# Ours beyond the contract.
ALSO = {"mbcas_record_dropped_total"}
SLO = {
    "mbcas_slo_target_seconds": ("gauge", {"namespace", "pod"}),
    "mbcas_slo_latency_seconds": ("gauge", {"namespace", "pod"}),
    "mbcas_slo_leniency": ("gauge", {"namespace", "pod"}),
    "mbcas_slo_violations_total": ("counter", {"namespace", "pod"}),
    "mbcas_slo_source_up": ("gauge", {"source"}),
    "mbcas_slo_queries_total": ("counter", {"result"}),
}


def a_row(name="web", **more):
    values = {
        "namespace": "demo",
        "name": name,
        "cgroup": f"/demo/{name}",
        "managed": True,
        "usage_milli": 812.0,
        "smoothed_milli": 800.0,
        "throttled_ratio": 0.142,
        "stall_limit_ratio": 0.93,
        "stall_neighbour_ratio": 0.05,
        "stall_self_ratio": 0.02,
        "need_milli": 1240.0,
        "limit_milli": 1000.0,
        "target_milli": 1000.0,
        "utility": 0.5,
    }
    return WorkloadSnapshot(**{**values, **more})


def a_picture(*rows, **more):
    values = {
        "node": "node-1",
        "version": "1",
        "run_mode": "observe",
        "taken_wall_s": 0.0,
        "started_wall_s": 0.0,
        "cpu_milli": 4000.0,
        "capacity_milli": 3600.0,
        "limit_capacity_milli": 7200.0,
        "market_mode": "congested",
        "price": 0.0043,
        "quota_leak_ratio": 0.01,
    }
    return NodeSnapshot(**{**values, **more}, workloads=rows or (a_row(),))


def everything():
    """Metrics of a node on which everything has happened once."""
    metrics = Metrics("node-1", "1.2.3")
    sources = (LatencySourceSnapshot(kind="prometheus", up=False, answers={"ok": 3, "nan": 1}),)
    row = a_row(slo_p99_s=0.1, p99_s=0.132, p99_source="prometheus", slo_violated=True, slo_violations=2, leniency=0.5)
    metrics.publish(a_picture(row, counters={"dropped_records": 7}, latency_sources=sources))
    metrics.count_resize("demo", "web", "applied", 0.0004)
    market = Market(capacity_milli=1000, bids=(a_bid("web"), a_bid("api", weight=3)))
    metrics.observe_clear(0.0002, market, clear(market))
    metrics.observe_sensing(0.001)
    metrics.observe_discovery(0.002)
    metrics.observe_lateness("sampling", 0.0001)
    metrics.count_guard_trigger()
    metrics.observe_guard(12.0)
    metrics.count_drift("external")
    metrics.count_cooldown_violation()
    metrics.count_step_violation()
    metrics.count_receipt_failed()
    metrics.count_allocation_write("written")
    return metrics


def families(metrics):
    return {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}


def values(metrics, name):
    """Values of one series by its labels, as a scraper sees them."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in families(metrics).values()
        for sample in family.samples
        if sample.name == name
    }


def test_the_names_types_and_labels_are_those_of_the_contract():
    seen = families(everything())

    found = {}
    for family in seen.values():
        if family.name.startswith("mbcas_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = (family.type, labels)
    for name in ALSO:
        found.pop(name)
    assert found == CONTRACT | SLO


def test_every_name_is_there_from_the_first_scrape():
    text = Metrics("node-1", "1").render().decode()

    declared = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert declared >= set(CONTRACT | SLO)


def test_figures_come_from_the_snapshot():
    metrics = everything()

    web = (("namespace", "demo"), ("pod", "web"))
    assert values(metrics, "mbcas_need_milli") == {web: 1240}
    assert values(metrics, "mbcas_stall_ratio") == {
        (("cause", "limit"), *web): 0.93,
        (("cause", "neighbour"), *web): 0.05,
        (("cause", "self"), *web): 0.02,
    }
    assert values(metrics, "mbcas_allocation_mode") == {(("node", "node-1"),): 1}
    assert values(metrics, "mbcas_record_dropped_total") == {(): 7}
    # 300 and 700 of 1000 with floors of 100: ln 200 + 3 ln 600.
    assert values(metrics, "mbcas_nash_product_log") == {
        (("node", "node-1"),): pytest.approx(math.log(200) + 3 * math.log(600))
    }


def test_what_is_unknown_has_no_series_and_a_price_that_does_not_exist_is_nan():
    metrics = Metrics("node-1", "1")
    metrics.publish(
        a_picture(
            a_row(limit_milli=None, stall_limit_ratio=None, stall_neighbour_ratio=None, stall_self_ratio=None),
            price=None,
        )
    )

    assert values(metrics, "mbcas_limit_milli") == {}
    assert values(metrics, "mbcas_stall_ratio") == {}
    assert math.isnan(values(metrics, "mbcas_shadow_price_cpu")[("node", "node-1"),])


def test_series_of_workloads_that_are_gone_vanish_with_the_next_snapshot():
    metrics = Metrics("node-1", "1")
    metrics.publish(a_picture(a_row("web"), a_row("api")))
    metrics.count_resize("demo", "web", "applied", 0.001)
    metrics.count_resize("demo", "api", "applied", 0.001)

    metrics.publish(a_picture(a_row("api")))

    assert b'pod="web"' not in metrics.render()
    assert len(values(metrics, "mbcas_resize_total")) == 1


def test_containers_of_one_pod_have_a_label_of_their_own():
    metrics = Metrics("node-1", "1")
    metrics.publish(a_picture(a_row(container="app"), a_row(container="sidecar", need_milli=5.0)))

    assert {dict(labels)["container"]: v for labels, v in values(metrics, "mbcas_need_milli").items()} == {
        "app": 1240,
        "sidecar": 5,
    }


def test_names_with_quotes_and_backslashes_survive_the_text_format():
    metrics = Metrics("node-1", "1")
    nasty = 'a"b\\c\nd'
    metrics.publish(a_picture(a_row(nasty)))

    ((labels, _),) = values(metrics, "mbcas_need_milli").items()
    assert dict(labels)["pod"] == nasty


def test_the_text_says_the_same_as_the_library_itself_would_write():
    registry = CollectorRegistry()
    metrics = Metrics("node-1", "1.2.3", registry)
    metrics.publish(a_picture(a_row("web"), a_row("api", limit_milli=math.inf, utility=-math.inf)))
    metrics.count_resize("demo", "web", "applied", 0.0004)
    metrics.observe_lateness("sampling", 0.0001)

    def samples(text):
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): repr(sample.value)
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if not sample.name.startswith("process_") and not sample.name.endswith("_created")
        }

    assert samples(metrics.render()) == samples(generate_latest(registry))
    assert b"_created" not in metrics.render()


def test_a_scrape_never_sees_half_a_snapshot():
    metrics = Metrics("node-1", "1")
    full = a_picture(*(a_row(f"w{i}") for i in range(50)))
    metrics.publish(full)
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            metrics.publish(full)

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(50):
            text = metrics.render()
            assert text.count(b"\nmbcas_need_milli{") == 50
            assert text.count(b"\nmbcas_utility{") == 50
    finally:
        stop.set()
        publisher.join()


def test_the_process_itself_is_measured():
    assert values(everything(), "process_resident_memory_bytes")[()] > 1e6


def test_importing_the_metrics_brings_no_web_server_and_spoils_nothing_for_others():
    program = """
import sys
import mbcasd.accounting.metrics
heavy = {"http.server", "ssl", "urllib.request", "wsgiref", "email"} & set(sys.modules)
assert not heavy, heavy
import prometheus_client
assert prometheus_client.start_http_server
assert prometheus_client.Counter is sys.modules["prometheus_client.metrics"].Counter
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_a_latency_that_is_too_old_is_not_exported_but_its_violations_are():
    metrics = everything()
    web = (("namespace", "demo"), ("pod", "web"))
    assert values(metrics, "mbcas_slo_latency_seconds") == {web: 0.132}

    metrics.publish(a_picture(a_row(p99_s=0.132, p99_source="prometheus", slo_violated=None, slo_violations=2)))

    assert values(metrics, "mbcas_slo_latency_seconds") == {}
    assert values(metrics, "mbcas_slo_violations_total") == {web: 2}


def test_what_prometheus_answered_is_counted_by_what_it_was():
    metrics = everything()

    assert values(metrics, "mbcas_slo_source_up") == {(("source", "prometheus"),): 0}
    assert values(metrics, "mbcas_slo_queries_total") == {(("result", "nan"),): 1, (("result", "ok"),): 3}
