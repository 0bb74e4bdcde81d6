"""The service as it is: a process of its own that talks HTTP."""

import contextlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mbcasctl.loadtest.service import is_spike, parse


@contextlib.contextmanager
def a_service(*arguments):
    """A service process and how to ask it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mbcasctl.loadtest.service", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        port = int(process.stdout.readline().split()[1])

        def ask(path, method="GET"):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read().decode()

        yield ask, port
    finally:
        process.stdin.close()
        code = process.wait(30)
        process.stdout.close()
    assert code == 0


def a_figure(text, metric):
    return float(re.search(rf"^{re.escape(metric)} (\S+)$", text, re.MULTILINE)[1])


def test_a_worker_burns_what_a_request_costs_and_tells_prometheus():
    with a_service("worker", "--cpu-ms", "20") as (ask, _):
        for number in range(5):
            ask(f"/work?n={number}")
        metrics = ask("/metrics")

    # 5 x 20 ms, each at most a few pieces of 0.1 ms more.
    assert a_figure(metrics, "mbcas_eval_burnt_cpu_seconds_total") == pytest.approx(0.1, abs=0.01)
    assert a_figure(metrics, "mbcas_eval_request_duration_seconds_count") == 5
    assert a_figure(metrics, 'mbcas_eval_request_duration_seconds_bucket{le="+Inf"}') == 5
    assert a_figure(metrics, 'mbcas_eval_request_duration_seconds_bucket{le="0.01"}') == 0
    assert a_figure(metrics, "mbcas_eval_request_duration_seconds_sum") >= 0.1
    assert a_figure(metrics, "mbcas_eval_requests_in_flight") == 0


def test_a_worker_says_when_it_was_done_on_the_machines_clock():
    with a_service("worker", "--cpu-ms", "10") as (ask, _):
        began_s = time.monotonic()
        done_s = float(ask("/work?n=1"))

    assert began_s + 0.010 <= done_s <= time.monotonic()


def test_spikes_cost_as_many_times_more_as_they_should():
    numbers = [next(n for n in range(100) if is_spike(n, 1, 0.2) is wanted) for wanted in (True, False)]
    with a_service("worker", "--cpu-ms", "5", "--spike-ratio", "0.2", "--spike-factor", "4") as (ask, _):
        burnt = []
        for number in numbers:
            before = a_figure(ask("/metrics"), "mbcas_eval_burnt_cpu_seconds_total")
            ask(f"/work?n={number}")
            burnt.append(a_figure(ask("/metrics"), "mbcas_eval_burnt_cpu_seconds_total") - before)

    assert burnt == pytest.approx([0.020, 0.005], abs=0.003)


def test_every_regime_meets_the_same_spikes_and_a_fifth_of_all_requests_is_one():
    spikes = [is_spike(n, 1, 0.2) for n in range(10_000)]

    # 2000 are expected; the standard deviation is 40.
    assert sum(spikes) == pytest.approx(2000, abs=200)
    assert spikes == [is_spike(n, 1, 0.2) for n in range(10_000)]
    assert spikes != [is_spike(n, 2, 0.2) for n in range(10_000)]
    assert not any(is_spike(n, 1, 0) for n in range(1000))
    assert all(is_spike(n, 1, 1) for n in range(1000))


def test_a_gateway_asks_all_workers_at_once_and_passes_on_how_long_each_took():
    with (
        a_service("worker", "--cpu-ms", "5") as (_, fast),
        a_service("worker", "--cpu-ms", "40") as (_, slow),
        a_service("gateway", "--cpu-ms", "1", "--upstream", f"a={slow}", "--upstream", f"b={fast}") as (ask, _),
    ):
        lines = ask("/work?n=1").split("\n")

    took = {name: float(s) for name, s in (line.split() for line in lines if line)}
    assert took["a"] >= 0.040
    assert took["b"] >= 0.005


def test_a_gateway_says_which_worker_failed():
    with a_service("gateway", "--cpu-ms", "1", "--upstream", "a=1") as (ask, _):  # nobody listens on port 1
        assert ask("/work?n=1") == "a failed\n"


def test_noise_counts_the_work_that_it_does_unasked():
    with a_service("noise", "--intensity", "0.8") as (ask, _):
        before = a_figure(ask("/metrics"), "mbcas_eval_burnt_cpu_seconds_total")
        ends_s = time.monotonic() + 30
        while a_figure(ask("/metrics"), "mbcas_eval_burnt_cpu_seconds_total") < before + 0.05:
            assert time.monotonic() < ends_s
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask("/work?n=1")


def test_what_it_does_not_serve_is_refused_and_the_service_goes_on():
    with a_service("worker") as (ask, _):
        for path, method, status in [("/", "GET", 404), ("/work?n=x", "GET", 400), ("/work", "GET", 400)]:
            with pytest.raises(urllib.error.HTTPError, match=str(status)):
                ask(path, method)
        with pytest.raises(urllib.error.HTTPError, match="405"):
            ask("/work?n=1", "DELETE")
        assert ask("/healthz") == "ok\n"


def test_it_enters_its_cgroup_before_it_is_ready(tmp_path):
    procs = [tmp_path / "cpu", tmp_path / "unified"]
    with a_service("worker", "--join", str(procs[0]), "--join", str(procs[1])):
        pids = {int(file.read_text()) for file in procs}
        assert len(pids) == 1
        assert Path(f"/proc/{pids.pop()}").exists()


def test_a_cgroup_that_cannot_be_entered_ends_it_with_a_reason():
    done = subprocess.run(
        [sys.executable, "-m", "mbcasctl.loadtest.service", "worker", "--join", "/nonexistent/cgroup.procs"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot enter the cgroup:")


@pytest.mark.parametrize(
    "wrong",
    [
        ["cook"],
        ["worker", "--threads", "0"],
        ["worker", "--cpu-ms", "-1"],
        ["worker", "--cpu-ms", "nan"],
        ["noise", "--intensity", "0"],
        ["noise", "--intensity", "1.5"],
        [],
    ],
)
def test_nonsense_is_refused_with_exit_code_2(wrong, capsys):
    with pytest.raises(SystemExit) as refused:
        parse(wrong)
    assert refused.value.code == 2
    assert "usage:" in capsys.readouterr().err
