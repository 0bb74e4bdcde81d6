"""One cluster in a dozen lines, a row for each node, and what is wrong with it; pure."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mbcasctl.cluster.picture import AgentStatus, ClusterStatus
from mbcasctl.views import style, text
from mbcasctl.views.text import UNICODE, Glyphs, clean

_MOST_NAMED = 5
_MOST_AGENTS = 40  # rows; of more nodes, those that need a look come first
_COLOURS = {"uncongested": style.GOOD, "congested": style.HELD, "overloaded": style.BAD}


def screen(status: ClusterStatus, glyphs: Glyphs = UNICODE, *, wide: bool = False) -> RenderableType:
    """The verdict as people read it."""
    title = Text(f"MBCAS {clean(status.version, glyphs)}".rstrip(), style=style.TITLE)
    title.append(f" on {clean(status.place, glyphs)}", style=style.TITLE)
    title.append(f"  {status.mode or 'not installed'}, Kubernetes {clean(status.kubernetes, glyphs)}")
    drawn: list[RenderableType] = [title, Text("")]
    if status.installed:
        for name, value in _facts(status, glyphs):
            line = Text(f"  {name:<12}", style=style.KEY)
            line.append(clean(value, glyphs), style="not bold")
            drawn.append(line)
        drawn.append(Text(""))
        if status.agents:
            drawn += [*_nodes(status.agents, glyphs, wide=wide), Text("")]
    drawn += [Text(f"{glyphs.no} {clean(problem, glyphs)}", style=style.BAD) for problem in status.problems]
    drawn += [Text(f"! {clean(note, glyphs)}", style=style.HELD) for note in status.notes]
    if status.healthy:
        drawn.append(Text(f"{glyphs.yes} healthy", style=style.GOOD))
    return Group(*drawn)


def _facts(status: ClusterStatus, glyphs: Glyphs) -> list[tuple[str, str]]:
    ready, facts = status.readiness, []
    if ready is not None:
        facts.append(("agents", f"{ready.agents_ready} of {ready.agents_wanted} ready"))
        facts.append(("controllers", f"{ready.controllers_ready} of {ready.controllers_wanted} ready"))
    if status.leader:
        facts.append(("leader", f"{status.leader}, renewed {text.age(status.lease_age_s, glyphs)} ago"))
    facts.append(("namespaces", f"{len(status.namespaces)} opted in{_named(status.namespaces)}"))
    total = sum(status.phases.values())
    phases = ", ".join(f"{count} {phase.lower()}" for phase, count in sorted(status.phases.items()))
    facts.append(("allocations", f"{total}{': ' if phases else ''}{phases}"))
    if status.reasons:
        facts.append(("why not", ", ".join(f"{reason} {count}" for reason, count in sorted(status.reasons.items()))))
    if total:
        facts.append(("limits", f"{status.wanted_milli:g}m, where their owners had set {status.original_milli:g}m"))
    return facts


def _named(namespaces: Sequence[str]) -> str:
    if not namespaces:
        return ""
    more = len(namespaces) - _MOST_NAMED
    return f": {', '.join(namespaces[:_MOST_NAMED])}" + (f" and {more} more" if more > 0 else "")


def _nodes(agents: Sequence[AgentStatus], glyphs: Glyphs, *, wide: bool) -> list[RenderableType]:
    table = Table(box=None, pad_edge=False, header_style=style.TITLE)
    table.add_column("")
    table.add_column("NODE", overflow="fold")
    table.add_column("AGENT", overflow="fold")
    table.add_column("MARKET", no_wrap=True)
    for title in ("PRICE", "NEED", "GIVEN", "OF", "MANAGED"):
        table.add_column(title, justify="right", no_wrap=True)
    if wide:
        table.add_column("VERSION")
        table.add_column("POD")
    order = sorted(agents, key=lambda agent: (agent.ready and not agent.trouble, agent.node))
    for agent in order[:_MOST_AGENTS]:
        is_well = agent.ready and not agent.trouble
        words = agent.run_mode or ("ready" if agent.ready else "not ready")
        if not agent.ready and agent.run_mode:
            words += ", not ready"
        row: list[Text | str] = [
            Text(glyphs.yes if is_well else "!" if agent.ready else glyphs.no, style=_colour(agent)),
            Text(clean(agent.node, glyphs)),
            Text(clean(words, glyphs)),
            Text(agent.market_mode or glyphs.none, style=_COLOURS.get(agent.market_mode or "", style.QUIET)),
            _price(agent.price, glyphs),
            text.milli(agent.need_milli, glyphs),
            text.milli(agent.given_milli, glyphs),
            text.milli(agent.capacity_milli, glyphs),
            glyphs.none if agent.managed is None else f"{agent.managed} of {agent.managed + (agent.unmanaged or 0)}",
        ]
        table.add_row(*row, *((clean(agent.version, glyphs), clean(agent.pod, glyphs)) if wide else ()))
    more = len(order) - _MOST_AGENTS
    rest = [Text(f"   and {more} more nodes, which do well" if more > 0 else "", style=style.QUIET)] if more > 0 else []
    return [table, *rest]


def _colour(agent: AgentStatus) -> str:
    return style.BAD if not agent.ready else style.HELD if agent.trouble else style.GOOD


def _price(value: float | None, glyphs: Glyphs) -> str:
    known = text.known(value)
    return glyphs.none if known is None else f"{known:.3g}"
