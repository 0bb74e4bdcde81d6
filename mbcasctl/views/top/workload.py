"""What covers the rows when one workload is looked at: why it has this limit, from the snapshot alone."""

import textwrap

from rich.text import Text

from mbcasctl.views import style, text
from mbcasctl.views.text import Glyphs
from mbcasctl.views.top import header
from mbcasctl.views.top.state import identity
from mbcasd.model.decision import HeldBy
from mbcasd.model.snapshot import NodeSnapshot, WorkloadSnapshot
from mbcasd.units import format_cpu_milli


def workload_lines(snapshot: NodeSnapshot, row: WorkloadSnapshot | None, width: int, glyphs: Glyphs) -> list[Text]:
    """Why this workload has this limit, from the snapshot alone; `mbcasctl explain` knows more."""
    if row is None:
        return [style.line("It is gone.", style.QUIET)]
    drawn = [style.line(text.clean(str(identity(row)), glyphs), style.TITLE), style.line()]
    drawn += _wrapped(_verdict(row, glyphs), width, style.standing(row).value, glyphs)
    drawn.append(style.line())
    facts = _managed_facts(snapshot, row, glyphs) if row.managed else _watched_facts(row, glyphs)
    for name, value in facts:
        pieces = textwrap.wrap(text.clean(value, glyphs), max(10, width - 12)) or [""]
        for at, piece in enumerate(pieces):
            line = style.line("  ")
            line.append(text.fit(name if at == 0 else "", 10), style=style.KEY)
            line.append(piece)
            drawn.append(line)
    drawn.append(style.line())
    more = f"More, with the receipt and what else it could have: mbcasctl explain {identity(row)}"
    return drawn + _wrapped(more, width, style.QUIET, glyphs)


def _verdict(row: WorkloadSnapshot, glyphs: Glyphs) -> str:
    """The answer first."""
    limit = "It has no limit." if row.limit_milli is None else f"It may use {_cpu(row.limit_milli, glyphs)}."
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
        return _cpu(value, glyphs)

    shares = (row.stall_limit_ratio, row.stall_neighbour_ratio, row.stall_self_ratio)
    limit, neighbour, own = (text.percent(share, glyphs) for share in shares)
    stall = (
        "why it waited is not known: this kernel has no PSI for it"
        if row.stall_limit_ratio is None
        else f"of that {limit} % at its own limit, {neighbour} % behind neighbours, {own} % for its own parallelism"
    )
    ratio, stalled = text.percent(row.throttled_ratio, glyphs), _seconds(row.stalled_s, glyphs)
    changed = (
        "never changed"
        if row.last_change_wall_s is None
        else (
            f"{text.change(row.last_change_milli, glyphs)} "
            f"{text.age(snapshot.taken_wall_s - row.last_change_wall_s, glyphs)} ago, {row.resizes} changes in all"
        )
    )
    market = f"{snapshot.market_mode or 'nothing cleared yet'}, price {header.price(snapshot.price, glyphs)}"
    weight = glyphs.none if text.known(row.weight) is None else f"{row.weight:g}"
    bid = f"floor {cpu(row.floor_milli)}, cap {cpu(row.cap_milli)}, weight {weight}, class {row.workload_class}"
    return [
        ("seen", f"usage {cpu(row.usage_milli)}, throttled in {ratio} % of its periods, {stalled} s stalled"),
        ("", stall),
        ("estimate", f"{snapshot.estimator}: need {cpu(row.need_milli)}{f' ({row.advice})' if row.advice else ''}"),
        ("bid", bid),
        ("market", f"{market}; gives {cpu(row.target_milli)}, held by {row.held_by}"),
        ("limit", f"{_limit(row.limit_milli, glyphs)}; {changed}"),
        ("owner", f"{_limit(row.owner_limit_milli, glyphs)} without MBCAS"),
        ("cgroup", row.cgroup),
    ]


def _watched_facts(row: WorkloadSnapshot, glyphs: Glyphs) -> list[tuple[str, str]]:
    return [("seen", f"usage {_cpu(row.usage_milli, glyphs)}"), ("cgroup", row.cgroup)]


def _cpu(value: float | None, glyphs: Glyphs) -> str:
    return glyphs.none if text.known(value) is None else format_cpu_milli(value)


def _limit(value: float | None, glyphs: Glyphs) -> str:
    """A limit, which may also not exist."""
    return format_cpu_milli(None) if value is None else _cpu(value, glyphs)


def _seconds(value: float, glyphs: Glyphs) -> str:
    known = text.known(value)
    return glyphs.none if known is None else f"{known:.1f}"


def _wrapped(words: str, width: int, colour: str, glyphs: Glyphs) -> list[Text]:
    return [style.line(piece, colour) for piece in textwrap.wrap(text.clean(words, glyphs), max(10, width)) or [""]]
