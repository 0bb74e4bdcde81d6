"""Intervals and situations with defaults, so that a test names only what it is about."""

from mbcasd.estimation.law import Law, LawSettings, LawState, Situation
from mbcasd.model.demand import Advice, Proposal, WorkloadClass
from mbcasd.model.readings import Interval
from mbcasd.settings import CostSettings, DemandSettings, Preset


def an_interval(
    ended_at_s: float = 1.0,
    *,
    elapsed_s: float = 0.1,
    usage_ms: float = 0.0,
    periods: int = 1,
    throttled: int = 0,
    throttled_ms: float = 0.0,
    some_ms: float | None = None,
    full_ms: float | None = None,
) -> Interval:
    return Interval(
        ended_at_s,
        elapsed_s,
        round(usage_ms * 1000),
        periods,
        throttled,
        round(throttled_ms * 1000),
        None if some_ms is None else round(some_ms * 1000),
        None if full_ms is None else round(full_ms * 1000),
    )


def a_situation(limit: float = 1000, *, floor: float = 100, ceiling: float = 4000, **more: object) -> Situation:
    """In millicores, on four CPUs."""
    return Situation(limit, floor, ceiling, **{"cpus": 4, **more})  # type: ignore[arg-type]


def law_settings(
    workload_class: WorkloadClass = WorkloadClass.STANDARD,
    *,
    preset: Preset = Preset.K,
    cpus: int = 4,
    period_s: float = 0.1,
    cost: CostSettings | None = None,
    **demand: object,
) -> LawSettings:
    return LawSettings(
        demand=DemandSettings(**demand),  # type: ignore[arg-type]
        cost=cost or CostSettings(),
        preset=preset,
        workload_class=workload_class,
        period_s=period_s,
        cpus=cpus,
    )


class Container:
    """A law with a market that grants everything, or a share of it, and a clock of 100 ms."""

    def __init__(self, law: Law, settings: LawSettings, limit: float, *, floor: float = 100, ceiling: float = 4000):
        self.law, self.state, self.limit = law, law.start(settings), limit
        self.floor, self.ceiling, self.now_s = floor, ceiling, 0.0
        self.proposals: list[tuple[float, Proposal]] = []
        self.leniency = 1.0

    def see(self, *, grants: bool = True, times: int = 1, in_flight: bool = False, **interval: object) -> Proposal:
        """Let the law see the same interval some times, and grant what it proposes."""
        proposal = None
        for _ in range(times):
            self.now_s += interval.get("elapsed_s", 0.1)  # type: ignore[operator]
            situation = a_situation(
                self.limit, floor=self.floor, ceiling=self.ceiling, in_flight=in_flight, leniency=self.leniency
            )
            self.state, proposal = self.law.observe(self.state, an_interval(self.now_s, **interval), situation)  # type: ignore[arg-type]
            if proposal.advice is not Advice.KEEP:
                self.proposals.append((self.now_s, proposal))
                if grants:
                    self.settle(proposal, proposal.need_milli)
        assert proposal is not None
        return proposal

    def settle(self, proposal: Proposal, granted: float) -> LawState:
        self.state = self.law.settle(self.state, proposal, self.limit, granted, self.now_s)
        self.limit = granted
        return self.state
