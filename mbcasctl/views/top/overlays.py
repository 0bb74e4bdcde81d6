"""What covers the rows for a while: help, everything about the node, the explanation of one workload."""

import textwrap

from rich.text import Text

from mbcasctl.views import style, text
from mbcasctl.views.text import Glyphs
from mbcasctl.views.top import header
from mbcasctl.views.top.state import identity
from mbcasd.model.decision import HeldBy
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot
from mbcasd.units import format_cpu_milli

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
    ("guard", "the guardrail raised it after a throttling spike"),
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


def workload_lines(snapshot: NodeSnapshot, row: WorkloadSnapshot | None, width: int, glyphs: Glyphs) -> list[Text]:
    """Why this workload has this limit, from the snapshot alone; `mbcasctl explain` knows more."""
    if row is None:
        return [style.line("It is gone.", style.QUIET)]
    drawn = [style.line(text.clean(str(identity(row)), glyphs), style.TITLE), style.line()]
    drawn += _wrapped(_verdict(row), width, style.standing(row).value)
    drawn.append(style.line())
    facts = _managed_facts(snapshot, row, glyphs) if row.managed else _watched_facts(row)
    for name, value in facts:
        pieces = textwrap.wrap(text.clean(value, glyphs), max(10, width - 12)) or [""]
        for at, piece in enumerate(pieces):
            line = style.line("  ")
            line.append(text.fit(name if at == 0 else "", 10), style=style.KEY)
            line.append(piece)
            drawn.append(line)
    drawn.append(style.line())
    name = text.clean(str(identity(row)), glyphs)
    return drawn + _wrapped(
        f"More, with the receipt and what else it could have: mbcasctl explain {name}", width, style.QUIET
    )


def _verdict(row: WorkloadSnapshot) -> str:
    """The answer first."""
    limit = "It has no limit." if row.limit_milli is None else f"It may use {format_cpu_milli(row.limit_milli)}."
    if not row.managed:
        return f"{limit} It is not managed{f': {row.reason}' if row.reason else ''}."
    need_milli = text.known(row.need_milli)
    if need_milli is None:
        return f"{limit} What it needs is not known yet."
    if row.limit_milli is None or need_milli <= row.limit_milli:
        return f"{limit} It needs {need_milli:.0f}m, so it has what it needs."
    return f"{limit} It needs {need_milli:.0f}m. {_WHY.get(row.held_by, f'It is held by {row.held_by}.')}"


_WHY = {
    HeldBy.NEED.value: "It will get that with the next change.",
    HeldBy.PRICE.value: "CPU is scarce: this is its share at the present price.",
    HeldBy.FLOOR.value: "The node is so short that everybody has only the floor.",
    HeldBy.CAP.value: "Its owner or the configuration allows no more.",
    HeldBy.STEP.value: "A limit moves by so much at once; the next step follows.",
    HeldBy.COOLDOWN.value: "It was changed a moment ago and is left alone for a while.",
    HeldBy.GUARD.value: "The guardrail holds it after a throttling spike.",
    HeldBy.PENDING.value: "A change is under way.",
    HeldBy.OWNER.value: "Somebody else set its limit, so MBCAS leaves it alone.",
}


def _managed_facts(snapshot: NodeSnapshot, row: WorkloadSnapshot, glyphs: Glyphs) -> list[tuple[str, str]]:
    def cpu(value: float | None) -> str:
        return glyphs.none if text.known(value) is None else format_cpu_milli(value)

    shares = (row.stall_limit_ratio, row.stall_neighbour_ratio, row.stall_self_ratio)
    limit, neighbour, own = (text.percent(share, glyphs) for share in shares)
    stall = (
        "why it waited is not known: this kernel has no PSI for it"
        if row.stall_limit_ratio is None
        else f"of that {limit} % at its own limit, {neighbour} % behind neighbours, {own} % for its own parallelism"
    )
    throttled = (
        f"throttled in {text.percent(row.throttled_ratio, glyphs)} % of its periods, {row.stalled_s:.1f} s stalled"
    )
    changed = (
        "never changed"
        if row.last_change_wall_s is None
        else (
            f"{text.change(row.last_change_milli, glyphs)} "
            f"{text.age(snapshot.taken_wall_s - row.last_change_wall_s, glyphs)} ago, {row.resizes} changes in all"
        )
    )
    market = f"{snapshot.market_mode or 'nothing cleared yet'}, price {header.price(snapshot.price, glyphs)}"
    bid = f"floor {cpu(row.floor_milli)}, cap {cpu(row.cap_milli)}, weight {row.weight:g}, class {row.workload_class}"
    return [
        ("seen", f"usage {cpu(row.usage_milli)}, {throttled}"),
        ("", stall),
        ("estimate", f"{snapshot.estimator}: need {cpu(row.need_milli)}{f' ({row.advice})' if row.advice else ''}"),
        ("bid", bid),
        ("market", f"{market}; gives {cpu(row.target_milli)}, held by {row.held_by}"),
        ("limit", f"{format_cpu_milli(row.limit_milli)}; {changed}"),
        ("owner", f"{format_cpu_milli(row.owner_limit_milli)} without MBCAS"),
        ("cgroup", row.cgroup),
    ]


def _watched_facts(row: WorkloadSnapshot) -> list[tuple[str, str]]:
    return [("seen", f"usage {row.usage_milli:.0f}m"), ("cgroup", row.cgroup)]


def _wrapped(words: str, width: int, colour: str) -> list[Text]:
    return [style.line(piece, colour) for piece in textwrap.wrap(words, max(10, width)) or [""]]


def _section(title: str, entries: list[str], width: int, colour: str, glyphs: Glyphs) -> list[Text]:
    if not title:
        return []
    drawn = [style.line(), style.line(title, style.TITLE)]
    for entry in entries:
        wrapped = textwrap.wrap(text.clean(entry, glyphs), max(10, width - 4)) or [""]
        drawn += [style.line(f"  {piece}" if at == 0 else f"    {piece}", colour) for at, piece in enumerate(wrapped)]
    return drawn
