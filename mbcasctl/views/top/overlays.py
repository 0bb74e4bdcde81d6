"""What covers the rows for a while: help, everything about the node, the explanation of one workload."""

import textwrap

from rich.text import Text

from mbcasctl.views import style, text
from mbcasctl.views.text import Glyphs
from mbcasctl.views.top import header
from mbcasctl.views.top.state import identity
from mbcasd.model.identity import WorkloadId
from mbcasd.model.snapshot import NodeSnapshot

_HELP = (
    ("", "Keys"),
    ("s S", "sort by the next, the previous figure"),
    ("r", "turn the order round"),
    ("/", "filter: all words must occur in the name, the class or what holds it; Esc clears"),
    ("j k, arrows", "select a workload; PgUp PgDn Home End; Esc lets go"),
    ("e, Enter", "explain the selected workload"),
    ("n", "everything about the node, with its problems in full"),
    ("p, space", "hold the picture still"),
    ("left right", "with --record: the picture before, the next one"),
    ("q", "quit"),
    ("", ""),
    ("", "Marks and colours"),
    (" ", "green: has what it needs"),
    ("~", "yellow: would take more, but a bound holds it"),
    ("!", "red: suffers, more than 10 % of its periods are throttled"),
    (".", "dim: not managed"),
    ("", ""),
    ("", "Figures"),
    ("850m 12.5c", "thousandths of a CPU; CPUs"),
    ("bars", "use, one bar per second, the newest on the right; a full bar is the limit"),
    ("%LIM", "use now, in percent of the limit"),
    ("THR%", "share of its periods in which it was throttled"),
    ("ST l/n/s", "why it waited, in percent: its own limit, neighbours, its own parallelism"),
    ("NEED", "the limit at which it would hardly be throttled"),
    ("TARG", "what the market gives it; FLOOR and CAP are its bounds, OWNER the limit before MBCAS"),
    ("LIMIT", "what the kernel enforces now; none: unlimited"),
    ("LAST", "the last change of the limit, and how long ago"),
    ("price", "what one more millicore would be worth to those who are short"),
    ("", ""),
    ("", "HELD BY: why has it not more?"),
    ("need", "it needs no more"),
    ("price", "CPU is scarce: its share at this price"),
    ("floor, cap", "the bound that its owner or the configuration set"),
    ("step", "a limit moves by so much at once"),
    ("cooldown", "it was changed a moment ago"),
    ("guard", "the guardrail holds it up after a throttling spike, or because it was too slow"),
    ("pending", "a change is under way"),
    ("owner", "somebody else set the limit: left alone"),
)


def help_lines(width: int, glyphs: Glyphs) -> list[Text]:
    """The keys, the marks and the words."""
    drawn: list[Text] = []
    for key, meaning in _HELP:
        if not key:
            drawn.append(style.line(meaning, style.TITLE))
            continue
        shown = glyphs.dot if key == "." else key
        for at, piece in enumerate(textwrap.wrap(meaning, max(10, width - 15)) or [""]):
            line = style.line("  ")
            line.append(text.fit(shown if at == 0 else "", 13), style=style.KEY)
            line.append(piece)
            drawn.append(line)
    return drawn


def node_lines(snapshot: NodeSnapshot, trouble: str, width: int, glyphs: Glyphs) -> list[Text]:
    """Everything that the snapshot says about the node itself."""

    def cpu(value: float | None) -> str:
        known = text.known(value)
        return glyphs.none if known is None else f"{known:.0f}m"

    managed = [row for row in snapshot.workloads if row.managed]
    decided = snapshot.decided_wall_s
    holds = {True: f"{glyphs.yes} holds", False: f"{glyphs.no} DOES NOT HOLD", None: "not checked"}
    facts = (
        ("node", text.clean(snapshot.node, glyphs)),
        ("daemon", f"version {text.clean(snapshot.version, glyphs)}, {text.clean(snapshot.run_mode, glyphs)}"),
        ("running for", text.age(snapshot.taken_wall_s - snapshot.started_wall_s, glyphs)),
        ("workloads", f"{len(managed)} managed, {len(snapshot.workloads) - len(managed)} not"),
        ("market", f"{snapshot.market_mode or 'nothing cleared yet'}, {snapshot.mechanism}"),
        ("price", header.price(snapshot.price, glyphs)),
        ("estimator", snapshot.estimator),
        ("decided", "never" if decided is None else f"{text.age(snapshot.taken_wall_s - decided, glyphs)} ago"),
        (
            "receipt",
            glyphs.none if snapshot.receipt_id is None else f"{snapshot.receipt_id} {holds[snapshot.receipt_holds]}",
        ),
        ("CPUs", cpu(snapshot.cpu_milli)),
        ("capacity", f"{cpu(snapshot.capacity_milli)} to hand out"),
        ("need", cpu(snapshot.need_milli)),
        ("given", cpu(snapshot.allocated_milli)),
        ("limits", f"{cpu(snapshot.limits_milli)} of at most {cpu(snapshot.limit_capacity_milli)}"),
        ("used", f"{cpu(snapshot.used_milli)}, and {cpu(snapshot.unmanaged_milli)} by what is not managed"),
        ("changes", f"{snapshot.raises_last_15s} raised, {snapshot.lowers_last_15s} lowered in the last 15 s"),
        ("quota leak", f"{text.percent(snapshot.quota_leak_ratio, glyphs)} %"),
    )
    drawn = [style.line("Node", style.TITLE)]
    for name, value in facts:
        line = style.line("  ")
        line.append(text.fit(name, 13), style=style.KEY)
        line.append(text.clean(value, glyphs))
        drawn.append(line)
    problems = ([trouble] if trouble else []) + list(snapshot.problems)
    drawn += _section(f"Problems ({len(problems)})" if problems else "No problems", problems, width, style.BAD, glyphs)
    counters = [f"{name} {value:g}" for name, value in sorted(snapshot.counters.items())]
    return drawn + _section("Counters" if counters else "", counters, width, "", glyphs)


def explain_lines(snapshot: NodeSnapshot, who: WorkloadId | None, width: int, glyphs: Glyphs) -> list[Text]:
    """Why a workload has its limit, from the snapshot alone; the command of the same name knows more."""
    # Imported here: only who opens it waits for it.
    from mbcasctl.explaining import explanation
    from mbcasctl.views import explain

    if who is None or who not in map(identity, snapshot.workloads):
        return [style.line("It is gone.", style.QUIET)]
    drawn = list(explain.as_text(explanation.explain(snapshot, who, place=""), width, glyphs).split("\n"))
    more = text.clean(f"More, and what else it could have: mbcasctl explain {who}", glyphs)
    return [*drawn, style.line(), *(style.line(piece, style.QUIET) for piece in textwrap.wrap(more, max(10, width)))]


def _section(title: str, entries: list[str], width: int, colour: str, glyphs: Glyphs) -> list[Text]:
    if not title:
        return []
    drawn = [style.line(), style.line(title, style.TITLE)]
    for entry in entries:
        wrapped = textwrap.wrap(text.clean(entry, glyphs), max(10, width - 4)) or [""]
        drawn += [style.line(f"  {piece}" if at == 0 else f"    {piece}", colour) for at, piece in enumerate(wrapped)]
    return drawn
