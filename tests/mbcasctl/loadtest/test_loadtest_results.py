from dataclasses import replace

import pytest
from mbcasctl_results import a_result

from mbcasctl.loadtest import results
from mbcasctl.loadtest.phases import Phase
from mbcasctl.loadtest.schedule import Arrivals, Schedule
from mbcasctl.loadtest.traffic import Sent
from mbcasd.errors import BrokenInput


def test_a_result_survives_its_file(tmp_path):
    file = tmp_path / "result.json"
    results.save(a_result(), file)

    assert results.load(file) == a_result()
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "not a result of `mbcasctl loadtest run`"),
        ("[]", "Expected `object`"),
        ('{"format": 1}', "missing required field `version`"),
        ('{"format": "x"}', r"\$.format"),
        ('{"format": 99}', "format 99, this program knows 1"),
    ],
)
def test_a_file_that_is_no_result_is_refused_with_the_place(tmp_path, content, complaint):
    file = tmp_path / "result.json"
    file.write_text(content)

    with pytest.raises(BrokenInput, match=complaint):
        results.load(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BrokenInput, match=r"cannot read .*no such file"):
        results.load(tmp_path / "none.json")


def test_a_place_that_cannot_be_written_is_known_before_the_load_starts(tmp_path):
    with pytest.raises(BrokenInput, match="no such file or directory"):
        results.check_writable(tmp_path / "none" / "result.json")
    with pytest.raises(BrokenInput, match="it is a folder"):
        results.check_writable(tmp_path)
    results.check_writable(tmp_path / "result.json")
    assert list(tmp_path.iterdir()) == []


def test_a_regimes_sums_are_over_all_its_workloads():
    total = a_result().regimes[0].total

    # noise-0 and noise-1 used 10 and 12 core-seconds; limits 200 + 1000 + 1000 + 2 x 800.
    assert total.noise_core_s == 22
    assert total.allocated_milli == 3800
    assert total.used_milli == 3200


def test_one_unlimited_workload_makes_the_sum_of_limits_unlimited():
    total = a_result().regimes[0].total
    unlimited = {**total.workloads, "gateway": replace(total.workloads["gateway"], mean_limit_milli=None)}

    assert replace(total, workloads=unlimited).allocated_milli is None


def test_waits_are_counted_by_phase_and_an_unanswered_one_until_the_end_of_the_test():
    schedule = Schedule(
        phases=(Phase(name="a", duration_s=1, rate_rps=1), Phase(name="b", duration_s=1, rate_rps=1)),
        seed=1,
        arrivals=Arrivals.POISSON,
        offsets_s=(0.5, 1.5),
        phase_of=(0, 1),
    )
    sent = Sent(waits_s=[0.040, None], parts_s={"worker-a": [0.030, 0.090]}, ended_at_s=104.0)

    everything = results.latencies(schedule, sent, 100.0, None)
    second = results.latencies(schedule, sent, 100.0, 1)

    # Meant for 101.5, given up at 104.
    assert (everything["gateway"].requests, everything["gateway"].max_ms) == (2, 2500)
    assert (second["gateway"].unanswered, second["gateway"].p50_ms) == (1, 2500)
    assert (second["worker-a"].unanswered, second["worker-a"].p50_ms) == (0, 90)
    # No part of worker-b ever came.
    assert second["worker-b"].unanswered == 1
