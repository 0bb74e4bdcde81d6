from pathlib import Path

import pytest

from mbcasd import configfile
from mbcasd.errors import ConfigError
from mbcasd.model.demand import WorkloadClass
from mbcasd.model.market import Mechanism
from mbcasd.settings import ForecastKind, Settings, WorkloadRule

SEED_CONFIGMAP = """\
# Sampling & Control Loops
samplingInterval: 1s          # Cgroup read frequency
fastLoopInterval: 3s          # SLO protection loop
slowLoopInterval: 20s         # Market clearing loop

baselineCPUPerPod: 150m       # Minimum CPU per pod
systemReservePercent: 12.5    # Reserve for system pods
minChangePercent: 2.0         # Hysteresis threshold
alphaUp: 0.4
alphaDown: 0.2
costEfficiencyMode: true
needHeadroomFactor: 0.07
targetThrottling: 0.01        # Target 1% throttling
enableFastGuardrail: true
fastUpThreshold: 0.06
sloLatencyTarget: 80ms
resizeCooldown: 6s
maxStepSizeFactor: 3.0
skipGuaranteed: false
enableKalmanPrediction: true
enableAgentBasedModeling: true
agentLearningRate: 0.2
agentDiscountFactor: 0.8
agentExplorationRate: 0.3
EnableCoalitionFormation: true
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file into the working directory, so that messages name it as a person would."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "mbcasd.toml") -> str:
        Path(name).write_text(text)
        return name

    return write


def load(path=None, environ=None, flags=None, role="agent"):
    return configfile.load(path, environ or {}, flags or {}, role)


def complaints(path=None, environ=None, flags=None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ, flags)
    return str(caught.value).splitlines()


def test_without_any_place_the_defaults_are_in_force():
    loaded = load()

    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}


def test_a_plain_host_clears_its_market_more_often():
    loaded = load(role="local")

    assert loaded.settings.loops.slow_loop_interval_s == 5
    assert loaded.sources["loops.slow_loop_interval"] == "default of mbcasd local"


def test_flags_win_over_the_environment_and_that_over_the_file(write):
    path = write("[market]\novercommit = 2.5\nquantum = '20m'\nalpha = 2\n")

    loaded = load(path, {"MBCAS_MARKET_QUANTUM": "30m", "MBCAS_MARKET_ALPHA": "inf"}, {"market.alpha": 3})

    market = loaded.settings.market
    assert (market.overcommit, market.quantum_milli, market.alpha) == (2.5, 30, 3)
    assert loaded.sources["market.overcommit"] == "mbcasd.toml, line 2"
    assert loaded.sources["market.quantum"] == "MBCAS_MARKET_QUANTUM"
    assert loaded.sources["market.alpha"] == "flag"
    assert loaded.sources["market.mechanism"] == "default"


def test_a_flag_that_was_not_given_changes_nothing():
    assert load(flags={"market.alpha": None}).sources["market.alpha"] == "default"


def test_workload_rules_keep_their_order_and_their_sources(write):
    path = write(
        '[[workload]]\nmatch = "web-*"\nfloor = "200m"\ncap = 2\nclass = "latency"\nslo_p99 = "80ms"\n'
        '\n[[workload]]\nmatch = "*"\nweight = 0\n'
    )

    loaded = load(path)

    assert loaded.settings.workloads == (
        WorkloadRule(
            match="web-*",
            floor_milli=200,
            cap_milli=2000,
            workload_class=WorkloadClass.LATENCY,
            slo_p99_s=0.08,
        ),
        WorkloadRule(match="*", weight=0),
    )
    assert loaded.sources["workload[0].cap"] == "mbcasd.toml, line 4"
    assert loaded.sources["workload[1].weight"] == "mbcasd.toml, line 10"
    assert "workload[1].cap" not in loaded.sources


def test_one_number_serves_for_both_directions_of_change(write):
    market = load(write("[market]\nmin_change_percent = 3\n")).settings.market

    assert (market.min_change_up_percent, market.min_change_down_percent) == (3, 3)


@pytest.mark.parametrize("text", ["{ up = 1, down = 2 }", "up=1,down=2"])
def test_the_environment_can_name_both_directions_of_change(text):
    market = load(environ={"MBCAS_MARKET_MIN_CHANGE_PERCENT": text}).settings.market

    assert (market.min_change_up_percent, market.min_change_down_percent) == (1, 2)


def test_every_flat_name_of_the_configmap_is_live(write):
    settings = load(write(SEED_CONFIGMAP, "config.yaml")).settings

    assert settings.loops.fast_loop_interval_s == 3
    assert settings.loops.slow_loop_interval_s == 20
    assert settings.market.baseline_cpu_per_pod_milli == 150
    assert settings.market.system_reserve_percent == 12.5
    assert settings.market.min_change_up_percent == settings.market.min_change_down_percent == 2
    assert (settings.demand.alpha_up, settings.demand.alpha_down) == (0.4, 0.2)
    assert settings.cost.cost_efficiency_mode
    assert settings.demand.need_headroom_factor == 0.07
    assert settings.demand.target_throttling_ratio == settings.cost.target_throttling_ratio == 0.01
    assert settings.guardrail.fast_up_threshold_ratio == 0.06
    assert settings.guardrail.slo_latency_target_s == pytest.approx(0.08)
    assert settings.resize.cooldown_s == 6
    assert settings.resize.max_step_factor == 3
    assert not settings.resize.skip_guaranteed
    assert settings.demand.forecast is ForecastKind.KALMAN
    assert settings.learning.enabled
    assert settings.learning.learning_rate == 0.2
    assert settings.learning.discount == 0.8
    assert settings.learning.exploration_ratio == 0.3
    assert settings.coalition.enabled


def test_flat_names_stand_in_toml_too_and_sections_beside_them(write):
    settings = load(
        write('resizeCooldown = "9s"\nenableFastGuardrail = false\n[market]\nmechanism = "nash"\n')
    ).settings

    assert settings.resize.cooldown_s == 9
    assert not settings.guardrail.enabled
    assert settings.market.mechanism is Mechanism.NASH


def test_a_flat_file_may_name_todays_keys(write):
    assert load(write("market.overcommit: 3\n")).settings.market.overcommit == 3


def test_a_setting_under_both_its_names_is_refused(write):
    path = write('samplingInterval = "2s"\n[loops]\nsampling_interval = "1s"\n')

    assert complaints(path) == [
        "mbcasd.toml, line 3: loops.sampling_interval is already set by mbcasd.toml, line 1; remove one"
    ]


def test_variables_that_kubernetes_puts_beside_a_service_are_not_settings():
    assert load(environ={"MBCAS_AGENT_SERVICE_HOST": "10.0.0.1", "MBCAS_CONTROLLER_PORT": "tcp://"}) == load()


def test_an_empty_section_says_nothing(write):
    assert load(write("[market]\n")).settings == Settings()


def test_a_value_that_something_else_overrides_is_judged_too(write):
    path = write("[market]\novercommit = 'much'\n")

    assert complaints(path, {"MBCAS_MARKET_OVERCOMMIT": "2"}) == [
        "mbcasd.toml, line 2: market.overcommit: 'much' is not a number"
    ]


def test_all_problems_are_told_at_once(write):
    path = write("[market]\novercomit = 3\nquantum = '-5m'\n\n[[workload]]\nmatch = 'a'\nwight = 2\n")

    assert len(complaints(path, {"MBCAS_LOOPS_SAMPLING_INTERVAL": "soon"}, {"resize.cooldown": "never"})) == 5
