from dataclasses import replace

import pytest
from mbcasctl_results import a_regime, a_result, figures

from mbcasctl.loadtest.experiment import Progress
from mbcasctl.loadtest.workloads import Regime
from mbcasctl.views import loadtest_progress, loadtest_report
from mbcasctl.views.text import ASCII, UNICODE
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot

COMPARISON = """\
                             fixed limits             MBCAS   change
  worker-b  p50 / p99         30 / 912 ms       30 / 121 ms   7.5× better
  worker-a  p50 / p99          30 / 31 ms        30 / 31 ms   about the same
  gateway   p50 / p99         35 / 922 ms       35 / 131 ms   7.0× better
  answers over 100 ms               1.0 %             1.0 %
  noise     work done         22.0 core-s       22.0 core-s   the same
  throttled: services                23 %             4.0 %
  throttled: noise                  0.0 %             0.0 %
  allocated (mean)                  3800m             2850m   −25 %
  used (mean)                       3200m             3200m   the same
  limit changes                         –                41   0 restarts
"""

REPORT = """\
Load test on 4 CPUs, seed 1, poisson arrivals, 10s per regime
(times × 0.0333, rates × 0.28); 2026-11-25T10:00:00+00:00

contention: 10s at 28 rps
                              fixed limits             MBCAS
  worker-b p50/95/99 ms          30/30/912         30/30/121
           over 100 ms               1.0 %             1.0 %
  worker-a p50/95/99 ms           30/30/31          30/30/31
           over 100 ms               0.0 %             0.0 %
  gateway  p50/95/99 ms          35/35/922         35/35/131
           over 100 ms               1.0 %             1.0 %
  noise    work done           22.0 core-s       22.0 core-s
  throttled: services                 23 %             4.0 %
  throttled: noise                   0.0 %             0.0 %
  allocated, mean                    3800m             2850m
  used, mean                         3200m             3200m
  limit changes                          –                41
  fixed limits: 0 restarts; 99 % of requests sent within 0.4 ms
  MBCAS: mbcasd used 6m of CPU; the owner's limits are back after its end
  MBCAS: 0 restarts; 99 % of requests sent within 0.4 ms
"""

SCREEN = """\
2/2  mbcasd moves the limits                                      00:07 of 00:27
     contention, 28 requests per second; market congested, price 0.0043

WORKLOAD                            USAGE  LIMIT  THROT   NEED  HELD BY
worker-b   ████▍      │              400m  1000m  60.0%  1240m  price
gateway    █▏│                       100m   200m   0.0%
noise-0    ███████████              1000m      –   0.0%
"""


def lines_of(lines):
    return "".join(f"{line.plain}\n" for line in lines)


def a_progress(**changes):
    return Progress(
        **{
            "regime": Regime.MBCAS,
            "number": 2,
            "of": 2,
            "phase": "contention",
            "rate_rps": 28.0,
            "elapsed_s": 7.9,
            "total_s": 27.0,
            "recent": {
                "worker-b": figures(used_s=4, limit=1000, throttled=60),
                "gateway": figures(used_s=1, limit=200),
                "noise-0": replace(figures(used_s=10, limit=0), mean_limit_milli=None),
            },
            "snapshot": NodeSnapshot(
                node="n",
                version="0",
                run_mode="enforce",
                taken_wall_s=0,
                started_wall_s=0,
                cpu_milli=2000,
                capacity_milli=1800,
                limit_capacity_milli=3600,
                market_mode="congested",
                price=0.0043,
                workloads=(
                    WorkloadSnapshot(
                        namespace="d",
                        name="worker-b",
                        cgroup="/d/worker-b",
                        managed=True,
                        need_milli=1240,
                        held_by="price",
                    ),
                ),
            ),
            **changes,
        }
    )


def test_the_last_screen_puts_both_halves_side_by_side():
    assert lines_of(loadtest_report.comparison(*a_result().regimes)) == COMPARISON


def test_the_report_shows_every_phase_under_every_regime():
    assert lines_of(loadtest_report.report(a_result())) == REPORT


def test_several_phases_are_also_shown_together():
    one = a_result()
    two = replace(
        one,
        phases=one.phases * 2,
        regimes=tuple(replace(regime, phases=regime.phases * 2) for regime in one.regimes),
    )

    assert "\nall phases\n" in lines_of(loadtest_report.report(two))


def test_a_worse_result_is_called_worse():
    worse = loadtest_report.comparison(a_regime("fixed", slow_s=0.1), a_regime("mbcas", slow_s=0.2))

    assert "2.0× worse" in worse[1].plain


def test_unanswered_requests_are_named():
    result = a_result()
    total = result.regimes[0].phases[0]
    hung = replace(total.latencies["gateway"], unanswered=3)
    phase = replace(total, latencies={**total.latencies, "gateway": hung})
    result = replace(result, regimes=(replace(result.regimes[0], phases=(phase,)), result.regimes[1]))

    assert "           unanswered                    3                 0\n" in lines_of(loadtest_report.report(result))


def test_limits_that_did_not_come_back_are_named():
    result = a_result()
    bad = replace(result.regimes[1], limits_restored=False)

    assert "the owner's limits are NOT back" in lines_of(
        loadtest_report.report(replace(result, regimes=(result.regimes[0], bad)))
    )


def test_a_daemon_that_only_observed_is_not_called_enforcing():
    watched = replace(a_regime("mbcas", slow_s=0.1), daemon_mode="observe")

    assert loadtest_report.title(watched) == "MBCAS (observe)"


def test_a_busy_machine_is_named_because_it_is_in_the_figures():
    quiet, busy = a_regime("fixed", slow_s=0.1), replace(a_regime("mbcas", slow_s=0.1), others_milli=700.0)

    assert loadtest_report.disturbance([quiet, replace(busy, others_milli=100.0)], 2) is None
    words = loadtest_report.disturbance([quiet, busy], 2)
    assert words is not None
    assert words.plain == "Not a quiet machine: other processes used up to 700m of 2000m meanwhile."


def test_nothing_measured_is_a_dash_and_not_a_zero():
    assert loadtest_report.milliseconds(None) == "–"
    assert loadtest_report.percent(None) == "–"
    assert loadtest_report.better(None, 3).plain == "–"
    assert loadtest_report.relative(0, 3).plain == "–"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.4, "0"), (41.2, "41"), (9999, "9999"), (12_345, "12.3s"), (123_456, "123.5s")]
)
def test_long_waits_turn_into_seconds(value, shown):
    assert loadtest_report.milliseconds(value) == shown


def test_the_live_screen_shows_usage_against_the_limit():
    assert lines_of(loadtest_progress.screen(a_progress(), UNICODE, 2)) == SCREEN


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_every_line_fits_80_columns(glyphs):
    lines = [
        *loadtest_progress.screen(a_progress(total_s=100_000.0), glyphs, 4),
        *loadtest_report.comparison(*a_result().regimes),
        *loadtest_report.report(a_result()),
    ]
    assert max(line.cell_len for line in lines) <= 80


def test_before_anything_was_seen_there_is_only_the_head():
    assert len(loadtest_progress.screen(a_progress(recent={}, snapshot=None), UNICODE, 2)) == 4


def test_a_log_gets_one_line_with_usage_of_limit_and_throttling():
    assert loadtest_progress.words(a_progress()) == (
        "00:07 mbcas    contention  worker-b 400/1000m 60%  gateway 100/200m 0%"
    )
