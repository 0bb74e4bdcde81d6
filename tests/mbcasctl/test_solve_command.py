import json
import subprocess
import sys
import time

import pytest
import yaml
from pictures import a_picture, a_row, a_shop

from mbcasctl.sources.asked import market_of
from mbcasd.errors import SourceError

PROBLEM = {
    "mechanism": "nash",
    "capacity_milli": 1000,
    "agents": [
        {"name": "web", "floor_milli": 100, "cap_milli": 900, "weight": 1},
        {"name": "api", "floor_milli": 100, "cap_milli": 900, "weight": 3},
    ],
}


def solve(*arguments, stdin=""):
    return subprocess.run(
        [sys.executable, "-m", "mbcasctl", "solve", "--dry-run", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
    )


def test_a_problem_from_stdin_is_solved_as_json():
    done = solve("-f", "-", "-o", "json", stdin=json.dumps(PROBLEM))

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "mechanism": "nash",
        "mode": "congested",
        "capacity_milli": 1000.0,
        "allocated_milli": 1000.0,
        "price": 0.005,  # 800 of surplus, 200 a weight
        "ratio": None,
        "allocations": [
            {"name": "web", "milli": 300.0, "binding": "interior"},
            {"name": "api", "milli": 700.0, "binding": "interior"},
        ],
        "groups": [],
        "certificate": {"kind": "kkt", "holds": True, "max_residual": pytest.approx(0, abs=1e-12)},
    }


def test_yaml_out_has_the_same_content(tmp_path):
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(PROBLEM))
    as_yaml = solve("-f", tmp_path / "p.yaml", "-o", "yaml").stdout
    as_json = solve("-f", tmp_path / "p.yaml", "-o", "json").stdout

    assert yaml.safe_load(as_yaml) == json.loads(as_json)


def test_many_problems_have_many_solutions_in_their_order():
    document = {"problems": [PROBLEM, {**PROBLEM, "mechanism": "kalai-smorodinsky"}, {**PROBLEM, "capacity_milli": 0}]}
    solutions = json.loads(solve("-f", "-", "-o", "json", stdin=json.dumps(document)).stdout)["solutions"]

    assert [one["mechanism"] for one in solutions] == ["nash", "kalai-smorodinsky", "nash"]
    assert [one["mode"] for one in solutions] == ["congested", "congested", "overloaded"]


def test_a_table_shows_every_problem_of_a_batch():
    shown = solve("-f", "-", stdin=json.dumps({"problems": [PROBLEM, PROBLEM]})).stdout

    assert shown.count("Nash bargaining") == 2
    assert "problems[1]" in shown
    assert "Nothing was changed." in shown


@pytest.mark.parametrize("output", ["table", "wide", "json", "yaml"])
def test_a_bad_problem_prints_nothing_on_stdout_and_exits_with_two(output):
    bad = {**PROBLEM, "agents": [PROBLEM["agents"][0], {"name": "api", "floor_milli": 900, "cap_milli": 300}]}
    done = solve("-f", "-", "-o", output, stdin=json.dumps({"problems": [PROBLEM, bad]}))

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: problems[1].agents[1] (api): floor_milli 900 is above cap_milli 300\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        ((), "", "error: name one problem: -f FILE"),
        (("-f", "-", "--from-node"), "", "error: name one problem: -f FILE"),
        (("-f", "-", "--url", "h"), "{}", "error: --socket and --url belong to --from-node"),
        (("-f", "/nowhere.json"), "", "error: /nowhere.json: there is no such file"),
        (("-f", "-"), "", "error: standard input: it is empty"),
        (("-f", "-"), '{"a": 1} x', "error: standard input, line 1, column 10: not JSON: Extra data"),
        (("-f", "-"), '{"capacity_milli": NaN}', "error: standard input: NaN is no number in JSON"),
        (("-f", "-"), "capacity_milli: .nan", "error: agents is missing"),
        (("-f", "-"), "}{", "error: standard input, line 1, column 1: not YAML"),
    ],
)
def test_what_cannot_be_understood_is_said_in_one_line(arguments, stdin, says):
    done = solve(*arguments, stdin=stdin)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1


def test_a_small_problem_is_solved_in_less_than_a_third_of_a_second():
    taken = []
    for _ in range(3):
        began_s = time.monotonic()
        solve("-f", "-", "-o", "json", stdin=json.dumps(PROBLEM))
        taken.append(time.monotonic() - began_s)

    assert min(taken) < 0.3


def test_rich_is_not_loaded_for_data(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(PROBLEM))
    code = (
        "import sys; from mbcasctl.app import app\n"
        f"try: app(['solve', '-f', {str(tmp_path / 'p.json')!r}, '-o', 'json'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'rich', 'yaml', 'numpy', 'kubernetes'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"


def test_a_reader_that_goes_away_is_no_error():
    many = {**PROBLEM, "agents": [{"name": f"w{i}", "floor_milli": 0, "cap_milli": 9} for i in range(5000)]}
    for output in ("json", "table"):
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {sys.executable} -m mbcasctl solve -f - -o {output} | head -n 1"],
            input=json.dumps(many),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_the_market_of_a_node_has_every_managed_workload_with_its_need():
    row = a_row("worker", need_milli=1240, floor_milli=500, cap_milli=2000, weight=2)
    market = market_of(a_picture(row, a_row("dns", managed=False), limit_capacity_milli=7200))

    assert market.capacity_milli == 7200
    (bid,) = market.bids
    assert (bid.floor_milli, bid.cap_milli, bid.weight) == (500, 1240, 2)
    assert bid.name.endswith("worker")


def test_a_need_below_the_floor_asks_for_the_floor_and_one_above_the_cap_for_the_cap():
    low = a_row("low", need_milli=10, floor_milli=500, cap_milli=2000)
    high = a_row("high", need_milli=9000, floor_milli=500, cap_milli=2000)

    assert [bid.cap_milli for bid in market_of(a_picture(low, high)).bids] == [500, 2000]


def test_a_node_without_managed_workloads_has_no_market():
    with pytest.raises(SourceError, match="no workload is managed"):
        market_of(a_picture(a_row("dns", managed=False)))


def test_a_node_is_asked_over_its_socket(tmp_path):
    import msgspec

    from mbcasd.serving.routes import Routes
    from mbcasd.serving.server import Server

    body = msgspec.json.encode(a_picture(*a_shop()))
    server = Server(Routes(metrics=bytes, status=lambda: body, healthy=lambda: (True, ""), ready=lambda: (True, "")))
    server.listen_unix(tmp_path / "s")
    try:
        done = solve("--from-node", "--socket", tmp_path / "s", "-o", "json")
    finally:
        server.close()

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["certificate"]["holds"]


def test_a_node_that_does_not_answer_is_a_failure():
    done = solve("--from-node", "--socket", "/nowhere/s")

    assert (done.returncode, done.stdout) == (1, "")
    assert "no daemon answers" in done.stderr
