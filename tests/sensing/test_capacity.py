import os
from pathlib import Path

import pytest

from mbcasd.errors import SensingError
from mbcasd.sensing.capacity import NodeReader


def stat(*cpus: tuple[int, ...]) -> str:
    lines = [f"cpu{i} {' '.join(map(str, ticks))}\n" for i, ticks in enumerate(cpus)]
    return "cpu  1 2 3 4\n" + "".join(lines) + "intr 12345 0 0\nctxt 1\nbtime 1764028800\n"


@pytest.fixture
def two_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


def test_use_is_busy_time_of_all_time_on_the_cpus_that_may_be_used(tmp_path: Path, two_cpus) -> None:
    file = tmp_path / "stat"
    # user nice system idle iowait irq softirq steal guest guest_nice
    file.write_text(stat((100, 0, 50, 1000, 0, 0, 0, 0, 90, 0), (0, 0, 0, 1000, 0, 0, 0, 0, 0, 0), (9,) * 10))
    reader = NodeReader(str(file))
    first = reader.read()
    assert (first.cpu_milli, first.usage_milli) == (2000, None)
    # cpu0: 60 of 100 busy, 10 of them stolen, waiting for a disk is idle; cpu1: 20 of 100. cpu2 is not ours.
    file.write_text(stat((140, 0, 60, 1030, 10, 0, 0, 10, 95, 0), (10, 5, 0, 1080, 0, 3, 2, 0, 0, 0), (99,) * 10))
    assert reader.read().usage_milli == pytest.approx(2000 * (60 + 20) / 200)
    reader.close()


def test_no_tick_says_nothing_about_use(tmp_path: Path, two_cpus) -> None:
    file = tmp_path / "stat"
    file.write_text(stat((1,) * 10, (1,) * 10))
    reader = NodeReader(str(file))
    reader.read()
    assert reader.read().usage_milli is None
    reader.close()


def test_a_cpu_that_is_off_does_not_count(tmp_path: Path, two_cpus) -> None:
    file = tmp_path / "stat"
    file.write_text(stat((1,) * 10))
    reader = NodeReader(str(file))
    assert reader.read().cpu_milli == 1000
    reader.close()


def test_a_cpu_that_comes_back_is_not_taken_for_use(tmp_path: Path, two_cpus) -> None:
    file = tmp_path / "stat"
    file.write_text(stat((0, 0, 0, 100, 0)))
    reader = NodeReader(str(file))
    reader.read()
    file.write_text(stat((10, 0, 0, 190, 0), (5000, 0, 0, 0, 0)))
    reading = reader.read()
    assert (reading.cpu_milli, reading.usage_milli) == (2000, pytest.approx(200))
    reader.close()


def test_a_file_that_is_none_of_the_kernels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu0 many\n")
    reader = NodeReader(str(tmp_path / "stat"))
    with pytest.raises(SensingError, match="not in the expected form"):
        reader.read()
    reader.close()
    with pytest.raises(SensingError, match="is /proc mounted"):
        NodeReader(str(tmp_path / "none"))


def test_this_machine_has_the_cpus_that_this_process_may_use() -> None:
    reader = NodeReader()
    assert reader.read().cpu_milli == 1000 * len(os.sched_getaffinity(0))
    reader.close()
