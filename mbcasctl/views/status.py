"""One node in a dozen lines, and what is wrong with it; pure."""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from mbcasctl.views import style, text
from mbcasctl.views.style import Standing
from mbcasctl.views.text import UNICODE, Glyphs
from mbcasd.model.identity import WorkloadId
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot
from mbcasd.units import format_cpu_milli

# The loops look at the node at least each second; a picture older than this means that they stand still.
STALE_S = 10.0
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """The verdict on one node."""

    healthy: bool
    problems: tuple[str, ...]  # why it is not, most important first
    suffering: tuple[str, ...]  # workloads that are throttled so much that it is felt, the worst first
    node: NodeSnapshot


def judge(snapshot: NodeSnapshot, age_s: float | None) -> NodeStatus:
    """Say whether a daemon does its work.

    Workloads that suffer are named, and make nothing unhealthy: a node may simply be too small.

    Args:
        snapshot: What the daemon says.
        age_s: How old that is; None: cannot be told, because it comes from another clock or from a record.
    """
    problems = []
    if age_s is not None and age_s > STALE_S:
        problems.append(f"the daemon answers, but has not looked at its node for {text.age(age_s)}")
    if snapshot.receipt_holds is False:
        problems.append(f"receipt {snapshot.receipt_id} does not hold: run `mbcasctl verify`")
    if not any(row.managed for row in snapshot.workloads):
        problems.append("no workload is managed: start `mbcasd local` with --parent or --unit")
    problems += snapshot.problems
    felt = [row for row in snapshot.workloads if style.standing(row) is Standing.SUFFERING]
    felt.sort(key=lambda row: -row.throttled_ratio)
    return NodeStatus(
        healthy=not problems,
        problems=tuple(problems),
        suffering=tuple(_name(row) for row in felt),
        node=snapshot,
    )


def screen(status: NodeStatus, glyphs: Glyphs = UNICODE) -> RenderableType:
    """The verdict as people read it: what the node is, how it does, what is wrong."""
    node = status.node
    up = text.age(node.taken_wall_s - node.started_wall_s, glyphs)
    title = Text(f"mbcasd {text.clean(node.version, glyphs)} on {text.clean(node.node, glyphs)}", style=style.TITLE)
    title.append(f"  {text.clean(node.run_mode, glyphs)}, running for {up}")
    drawn = [title, Text("")]
    for name, value in _facts(status, glyphs):
        line = Text(f"  {name:<11}", style=style.KEY)
        line.append(Text(text.clean(value, glyphs), style="not bold"))
        drawn.append(line)
    drawn.append(Text(""))
    drawn += [Text(f"{glyphs.no} {text.clean(problem, glyphs)}", style=style.BAD) for problem in status.problems]
    if status.healthy:
        drawn.append(Text(f"{glyphs.yes} healthy", style=style.GOOD))
    return Group(*drawn)


def _facts(status: NodeStatus, glyphs: Glyphs) -> list[tuple[str, str]]:
    node = status.node

    def cpu(value: float) -> str:
        return glyphs.none if text.known(value) is None else format_cpu_milli(value)

    stands = [style.standing(row) for row in node.workloads]
    managed = len(stands) - stands.count(Standing.NOT_MANAGED)
    price = text.known(node.price)
    cleared = node.market_mode is not None
    market = (
        f"{node.market_mode}, price {glyphs.none if price is None else f'{price:.4g}'}"
        if cleared
        else "not cleared yet"
    )
    decided = "nothing yet"
    if node.decided_wall_s is not None:
        decided = (
            f"{text.age(node.taken_wall_s - node.decided_wall_s, glyphs)} ago, receipt {(node.receipt_id or '')[:12]}"
        )
    workloads = (
        f"{managed} managed: {stands.count(Standing.FINE)} have what they need, {stands.count(Standing.HELD)} held "
        f"by a bound, {stands.count(Standing.SUFFERING)} suffering; {stands.count(Standing.NOT_MANAGED)} not managed"
    )
    facts = [
        ("market", f"{market}; need {cpu(node.need_milli)}, capacity {cpu(node.capacity_milli)}"),
        ("given", f"{cpu(node.allocated_milli)}; limits {cpu(node.limits_milli)} of {cpu(node.limit_capacity_milli)}"),
        ("used", f"{cpu(node.used_milli)}, and {cpu(node.unmanaged_milli)} by what is not managed"),
        ("workloads", workloads),
        ("decided", decided),
    ]
    if any(row.p99_source for row in node.workloads) or node.latency_sources:
        facts.append(("latency", _latency(node)))
    if status.suffering:
        more = len(status.suffering) - _MOST_NAMED
        facts.append(
            ("suffering", ", ".join(status.suffering[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else ""))
        )
    return facts


def _latency(node: NodeSnapshot) -> str:
    """How many objectives are kept, and how those do who say so."""
    verdicts = [row.slo_violated for row in node.workloads if row.p99_source]
    unknown = sum(row.p99_source == "" and row.slo_p99_s is not None for row in node.workloads) + verdicts.count(None)
    counts = ((verdicts.count(False), "kept"), (verdicts.count(True), "violated"), (unknown, "not known"))
    words = ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing to judge"
    sources = [f"{source.kind} {'answers' if source.up else 'does not answer'}" for source in node.latency_sources]
    return f"objectives: {words}{'; ' if sources else ''}{', '.join(sources)}"


def _name(row: WorkloadSnapshot) -> str:
    return str(WorkloadId(row.namespace, row.name, row.container))
