"""What people read when something is wrong, as one golden file: every kind of mistake, and our answer to it."""

from pathlib import Path

import pytest

from mbcasd import configfile
from mbcasd.errors import ConfigError

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "configuration-messages.txt"

MISTAKES = {
    "a typo": "[market]\novercomit = 3",
    "a typo in the section": "[markets]\novercommit = 3",
    "the right key in the wrong section": "[loops]\novercommit = 3",
    "a key without its section": "overcommit = 3",
    "a typo in a flat name": "samplingIntervall: 1s",
    "nothing like it": "[market]\nxyzzy = 1",
    "a section that is none": "market = 3",
    "a value of the wrong kind": "[loops]\nsampling_interval = true",
    "a duration without a unit": "[loops]\nsampling_interval = '15'",
    "no such choice": "[market]\nmechanism = 'nahs'",
    "negative": "[market]\nbaseline_cpu_per_pod = '-1m'",
    "not a number": "[market]\novercommit = nan",
    "infinite": "[market]\novercommit = inf",
    "too many digits": f"[market]\novercommit = {'9' * 400}",
    "below the strict market": "[market]\novercommit = 0.5",
    "above a hundred percent": "[market]\nsystem_reserve_percent = 120",
    "a percentage where a share is meant": "[demand]\ntarget_throttling = 5",
    "half of a pair": "[market]\nmin_change_percent = { up = 5 }",
    "under the smallest limit": "[resize]\nminimum = '5m'",
    "neither true nor false": "[resize]\nskip_guaranteed = 'perhaps'",
    "not a list": "[selection]\nnamespaces = 3",
    "a label without a value": "[selection]\nlabels = ['web']",
    "not a whole number": "[coalition]\nmax_size = 2.5",
    "not a size": "[record]\nmax_bytes = '1 gig'",
    "not a URL": "[guardrail]\nprometheus_url = 'prometheus:9090'",
    "a control character": '[market]\nmechanism = "na\\nsh"',
    "floor above cap": "[[workload]]\nmatch = 'web-*'\nfloor = '900m'\ncap = '300m'",
    "cap under the smallest limit": "[[workload]]\nmatch = 'web-*'\ncap = '5m'",
    "the same match twice": "[[workload]]\nmatch = 'a'\n[[workload]]\nmatch = 'a'",
    "no match": "[[workload]]\nweight = 2",
    "a rule that is no list": "[workload]\nmatch = 'a'",
    "an unknown class": "[[workload]]\nmatch = 'a'\nclass = 'fast'",
    "loops out of order": "[loops]\nfast_loop_interval = '30s'",
    "guardrail at the target": "[guardrail]\nfast_up_threshold = 0.1",
    "guardrail at the target of the cost mode": "[cost]\ncost_efficiency_mode = true\ntarget_throttling = 0.3",
    "steps out of order": "[guardrail]\nstep_min = 3",
    "a query without a server": "[guardrail]\nslo_query = 'up'",
    "a workload's query without a server": "[[workload]]\nmatch = 'web'\nslo_query = 'up'",
    "a server without a query": "[guardrail]\nprometheus_url = 'http://localhost:9090'",
    "a placeholder that is none": "[guardrail]\nslo_query = 'p99{pod=\"{{podd}}\"}'",
    "a placeholder that does not end": "[guardrail]\nslo_query = 'p99{pod=\"{{pod}\"}'",
    "latency more often than it counts": "[guardrail]\nslo_period = '5s'",
    "latency forgotten before it counts": "[guardrail]\nslo_period = '2m'\nslo_staleness = '1m'",
    "learning bounds out of order": "[learning]\ntarget_min = 0.3",
    "broken TOML": "[market\novercommit = 3",
    "TOML that ends too early": "[market]\nquantum = '",
    "a key twice": "[market]\nalpha = 1\nalpha = 2",
    "nested YAML": "market:\n  overcommit: 2",
    "half flat": "samplingInterval: 1s\novercommit = 2",
}


def message(tmp_path, monkeypatch, text: str) -> str:
    monkeypatch.chdir(tmp_path)
    Path("mbcasd.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        configfile.load("mbcasd.toml", {}, {})
    return str(caught.value)


def test_each_mistake_gets_the_message_of_the_golden_file(tmp_path, monkeypatch):
    told = "".join(f"{name}\n  {message(tmp_path, monkeypatch, text)}\n" for name, text in MISTAKES.items())

    assert told == GOLDEN.read_text()


@pytest.mark.parametrize("name", MISTAKES)
def test_every_message_is_one_line_that_names_the_file(tmp_path, monkeypatch, name):
    told = message(tmp_path, monkeypatch, MISTAKES[name])

    assert told.startswith("mbcasd.toml")
    assert told.isprintable()


def test_a_missing_file_is_told_with_the_command_that_writes_one():
    with pytest.raises(ConfigError, match=r"no such file; `mbcasctl config init nowhere.toml` writes one"):
        configfile.load("nowhere.toml", {}, {})


def test_a_directory_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        configfile.load(str(tmp_path), {}, {})


def test_an_endless_file_is_refused_without_reading_it():
    with pytest.raises(ConfigError, match="more than 1 MiB"):
        configfile.load("/dev/zero", {}, {})


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path):
    file = tmp_path / "mbcasd.toml"
    file.write_bytes(b"[market]\nmechanism = '\xff'\n")

    with pytest.raises(ConfigError, match="line 2: not UTF-8 text"):
        configfile.load(str(file), {}, {})


def test_a_variable_with_a_typo_is_told_with_the_nearest_one():
    with pytest.raises(ConfigError, match="environment: MBCAS_MARKET_OVERCOMIT is not a setting") as caught:
        configfile.load(None, {"MBCAS_MARKET_OVERCOMIT": "2"}, {})

    assert "did you mean MBCAS_MARKET_OVERCOMMIT?" in str(caught.value)
