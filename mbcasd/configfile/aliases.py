"""The flat camelCase names under which earlier deployments keep their settings, as aliases of today's keys.

`samplingInterval: 1s` in a ConfigMap means `sampling_interval = "1s"` in `[loops]`. The first letter may be a
capital, as in the Go field names.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mbcasd.configfile.kinds import switch


def _unchanged(value: object) -> object:
    return value


def _forecast(value: object) -> object:
    return "kalman" if switch().parse(value) else "ewma"


@dataclass(frozen=True, slots=True)
class Alias:
    """One flat name."""

    keys: tuple[str, ...]  # dotted; all take the value
    convert: Callable[[object], object] = _unchanged  # raises ValueError like a kind's parser


ALIASES: dict[str, Alias] = {
    "samplingInterval": Alias(("loops.sampling_interval",)),
    "fastLoopInterval": Alias(("loops.fast_loop_interval",)),
    "slowLoopInterval": Alias(("loops.slow_loop_interval",)),
    "baselineCPUPerPod": Alias(("market.baseline_cpu_per_pod",)),
    "systemReservePercent": Alias(("market.system_reserve_percent",)),
    "minChangePercent": Alias(("market.min_change_percent",)),
    "alphaUp": Alias(("demand.alpha_up",)),
    "alphaDown": Alias(("demand.alpha_down",)),
    "costEfficiencyMode": Alias(("cost.cost_efficiency_mode",)),
    "needHeadroomFactor": Alias(("demand.need_headroom_factor",)),
    # It was one number for both modes.
    "targetThrottling": Alias(("demand.target_throttling", "cost.target_throttling")),
    "enableFastGuardrail": Alias(("guardrail.enabled",)),
    "fastUpThreshold": Alias(("guardrail.fast_up_threshold",)),
    "sloLatencyTarget": Alias(("guardrail.slo_latency_target",)),
    "resizeCooldown": Alias(("resize.cooldown",)),
    "maxStepSizeFactor": Alias(("resize.max_step_factor",)),
    "skipGuaranteed": Alias(("resize.skip_guaranteed",)),
    "enableKalmanPrediction": Alias(("demand.forecast",), _forecast),
    "enableAgentBasedModeling": Alias(("learning.enabled",)),
    "agentLearningRate": Alias(("learning.learning_rate",)),
    "agentDiscountFactor": Alias(("learning.discount",)),
    "agentExplorationRate": Alias(("learning.exploration",)),
    "enableCoalitionFormation": Alias(("coalition.enabled",)),
}


def find(name: str) -> Alias | None:
    """The alias of this name, whether its first letter is a capital or not."""
    return ALIASES.get(name[:1].lower() + name[1:])


def names_of(dotted: str) -> tuple[str, ...]:
    """The flat names of a key."""
    return tuple(name for name, alias in ALIASES.items() if dotted in alias.keys)
