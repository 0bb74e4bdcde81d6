import pytest
from fakes.cgroup_tree import DATA
from hypothesis import example, given
from hypothesis import strategies as st

from mbcasd.errors import SensingError
from mbcasd.sensing import parse

V1, V2 = DATA / "6.18-v1", DATA / "6.1-v2"


def test_v1_counters_come_out_in_microseconds() -> None:
    # throttled_time 3832783465 ns, cpuacct.usage 850112848 ns
    assert parse.cpu_stat_v1((V1 / "burner/cpu.stat").read_bytes()) == (41, 40, 3_832_783)
    assert parse.cpuacct_usage((V1 / "burner/cpuacct.usage").read_bytes()) == 850_112


def test_v2_has_usage_and_throttling_in_one_file() -> None:
    assert parse.cpu_stat_v2((V2 / "burner/cpu.stat").read_bytes()) == (1_050_987, 51, 50, 4_422_367)


def test_without_the_cpu_controller_v2_counts_usage_only() -> None:
    assert parse.cpu_stat_v2(b"usage_usec 12\nuser_usec 8\nsystem_usec 4\n") == (12, 0, 0, 0)


def test_new_lines_of_later_kernels_are_passed_over() -> None:
    text = (
        b"usage_usec 9\nuser_usec 5\nsystem_usec 4\nnice_usec 0\ncore_sched.force_idle_usec 0\n"
        b"nr_periods 3\nnr_throttled 2\nthrottled_usec 1\nnr_bursts 0\nburst_usec 0\n"
    )
    assert parse.cpu_stat_v2(text) == (9, 3, 2, 1)


def test_the_order_of_lines_does_not_matter() -> None:
    assert parse.cpu_stat_v1(b"throttled_time 3000\nnr_throttled 2\nnr_periods 1\n") == (1, 2, 3)
    text = b"nr_throttled 2\nthrottled_usec 3\nusage_usec 9\nnr_periods 1\n"
    assert parse.cpu_stat_v2(text) == (9, 1, 2, 3)
    assert parse.cpu_stat_v2(b"usage_usec 9\nnr_periods 1\nthrottled_usec 3\nnr_throttled 2\n") == (9, 1, 2, 3)


def test_time_throttled_by_a_parent_is_in_the_local_file_only() -> None:
    held = V1 / "parent/held"
    assert parse.cpu_stat_v1((held / "cpu.stat").read_bytes()) == (0, 0, 0)
    assert parse.cpu_stat_local((held / "cpu.stat.local").read_bytes()) == 1_785_171
    assert parse.cpu_stat_local(b"throttled_usec 12\n") == 12


def test_an_empty_local_file_says_nothing() -> None:
    assert parse.cpu_stat_local(b"") is None


def test_pressure_is_the_two_totals() -> None:
    assert parse.pressure((V1 / "burner/cpu.pressure").read_bytes()) == (3_614_341, 3_052_592)


def test_before_linux_5_13_nobody_said_when_all_tasks_waited() -> None:
    assert parse.pressure(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n") == (7, None)


def test_limits_of_both_versions() -> None:
    assert parse.cpu_max(b"20000 100000\n") == (20_000, 100_000)
    assert parse.cpu_max(b"max 100000\n") == (None, 100_000)
    assert parse.cfs_quota(b"-1\n") is None
    assert parse.cfs_quota(b"20000\n") == 20_000
    assert parse.cfs_period(b"100000\n") == 100_000
    assert parse.burst(b"10000\n") == 10_000
    assert parse.weight(b"262144\n") == 262_144


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        (parse.cpu_stat_v1, b""),
        (parse.cpu_stat_v1, b"nr_periods 1\nnr_throttled 2\n"),
        (parse.cpu_stat_v1, b"nr_periods 1\nnr_throttled -2\nthrottled_time 0\n"),
        (parse.cpu_stat_v2, b"user_usec 1\n"),
        (parse.cpu_stat_v2, b"usage_usec many\n"),
        (parse.cpu_stat_v2, b"usage_usec 1\nnr_periods 2\n"),
        (parse.cpu_stat_v2, b"usage_usec -1\n"),
        (parse.cpuacct_usage, b"-1\n"),
        (parse.pressure, b"some avg10=0.00 avg60=0.00 avg300=0.00\n"),
        (parse.pressure, b"full total=1\n"),
        (parse.cpu_max, b"max\n"),
        (parse.cpu_max, b"20000 0\n"),
        (parse.cfs_period, b"0\n"),
        (parse.weight, b"heavy\n"),
    ],
)
def test_what_no_kernel_writes_is_refused_with_the_text(parser, text: bytes) -> None:
    with pytest.raises(SensingError, match="not in the expected form"):
        parser(text)


_PARSERS = [
    parse.cpu_stat_v1,
    parse.cpu_stat_v2,
    parse.cpu_stat_local,
    parse.cpuacct_usage,
    parse.pressure,
    parse.cpu_max,
    parse.cfs_quota,
    parse.cfs_period,
    parse.burst,
    parse.weight,
]
_WORDS = st.sampled_from(
    [b"nr_periods", b"nr_throttled", b"throttled_time", b"usage_usec", b"throttled_usec", b"some ", b"total=", b"max"]
    + [b" ", b"\n", b"1", b"-1", b"9" * 5000, b"\xff", b"0x10"]
)


@given(st.one_of(st.binary(max_size=300), st.lists(_WORDS, max_size=30).map(b"".join)))
@example(b"nr_periods")
@example(b"usage_usec 1 nr_periods")
def test_no_parser_fails_with_anything_but_a_sensing_error(data: bytes) -> None:
    for parser in _PARSERS:
        try:
            parser(data)
        except SensingError:
            continue


@given(*[st.integers(0, 2**63)] * 4)
def test_every_counter_that_was_written_is_read(usage: int, periods: int, throttled: int, usec: int) -> None:
    v1 = f"nr_periods {periods}\nnr_throttled {throttled}\nthrottled_time {usec * 1000}\nnr_bursts 0\nburst_time 0\n"
    assert parse.cpu_stat_v1(v1.encode()) == (periods, throttled, usec)
    v2 = (
        f"usage_usec {usage}\nuser_usec 0\nsystem_usec 0\n"
        f"nr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {usec}\n"
    )
    assert parse.cpu_stat_v2(v2.encode()) == (usage, periods, throttled, usec)
