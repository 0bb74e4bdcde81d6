"""Why a workload has its limit, in words and figures; pure."""

import textwrap
from datetime import UTC, datetime

from rich.text import Text

from mbcasctl.explaining.counterfactual import Counterfactual, Policy
from mbcasctl.explaining.explanation import Explanation
from mbcasctl.explaining.share import Share
from mbcasctl.views import style, text
from mbcasctl.views.text import UNICODE, Glyphs
from mbcasd.model.decision import HeldBy
from mbcasd.model.market import Binding
from mbcasd.model.snapshot import WorkloadSnapshot
from mbcasd.units import format_cpu_milli, format_duration

_LABEL_WIDTH = 10

_WHY = {
    HeldBy.NEED.value: "It gets that with the next change.",
    HeldBy.PRICE.value: "CPU is scarce, and this is its share at the present price.",
    HeldBy.FLOOR.value: "The node is so short of CPU that it has its floor and no more.",
    HeldBy.CAP.value: "Its owner or the configuration allows no more.",
    HeldBy.STEP.value: "A limit moves by so much at once; the next step follows.",
    HeldBy.COOLDOWN.value: "It was changed a moment ago and is left alone for a while.",
    HeldBy.GUARD.value: "The guard holds it up after a throttling spike, or because it was too slow.",
    HeldBy.PENDING.value: "A change is under way, or was refused and is tried again.",
    HeldBy.OWNER.value: "Somebody else set its limit, so MBCAS leaves it alone.",
}


# What holds it only for a moment.
_PASSING = {held.value for held in (HeldBy.NEED, HeldBy.STEP, HeldBy.COOLDOWN, HeldBy.PENDING)}


def as_text(found: Explanation, width: int, glyphs: Glyphs = UNICODE) -> Text:
    """The explanation for people, no line wider than `width`.

    Args:
        found: What to show.
        width: Cells; below 40 it is treated as 40.
        glyphs: Signs that the terminal can write.
    """
    width = max(40, width)
    drawn = [_title(found, width, glyphs), Text()]
    drawn += _wrapped(answer(found), width, style.standing(found.workload).value)
    drawn.append(Text())
    for label, sentence in _facts(found, glyphs):
        drawn += _labelled(label, text.clean(sentence, glyphs), width)
    closing = [*_without(found), *_more(found)]
    if closing:
        drawn.append(Text())
        for sentence in closing:
            drawn += _wrapped(text.clean(sentence, glyphs), width, "")
    if found.missing:
        drawn.append(Text())
        for sentence in found.missing:
            drawn += _wrapped(f"Not known: {text.clean(sentence, glyphs)}", width, style.QUIET)
    return Text("\n").join(drawn)


def answer(found: Explanation) -> str:
    """The answer in two or three sentences."""
    row = found.workload
    if found.gone:
        return "It does not exist any more; this is how it was last seen."
    limit = "It has no limit." if row.limit_milli is None else f"It may use {format_cpu_milli(row.limit_milli)}."
    if not row.managed:
        return f"{limit} It is not managed{f': {row.reason}' if row.reason else ''}, so it keeps what it has."
    need_milli = text.known(row.need_milli)
    if need_milli is None:
        unknown = "What it needs is not known yet: it was seen for too short a time."
        return f"{limit} {_WHY[row.held_by] if row.held_by == HeldBy.OWNER.value else unknown}"
    if row.limit_milli is None or not found.lacks_milli:
        return f"{limit} It needs {need_milli:.0f}m{_target(found)}, so it has what it needs."
    return f"{limit} It would need {need_milli:.0f}m{_target(found)}. {_why(found)}"


def _why(found: Explanation) -> str:
    """Why it has less than it needs."""
    row = found.workload
    if found.run_mode != "enforce":
        would = "" if row.target_milli is None else f"; enforcing, it would get {row.target_milli:.0f}m"
        return f"The daemon only watches (mode {found.run_mode}){would}."
    return _WHY.get(row.held_by, f"It is held by {row.held_by}.")


def as_data(found: Explanation) -> dict[str, object]:
    """The explanation for `-o json` and `-o yaml`: its own fields and the answer."""
    import msgspec

    data = msgspec.to_builtins(found)
    assert isinstance(data, dict)  # noqa: S101  for the type checker: a dataclass becomes a dict
    return {"answer": answer(found), "lacks_milli": found.lacks_milli, **data}


def _target(found: Explanation) -> str:
    if found.target_throttling_ratio is None:
        return ""
    return f" to be throttled in {found.target_throttling_ratio * 100:g} % of its periods"


def _title(found: Explanation, width: int, glyphs: Glyphs) -> Text:
    name = text.clean(found.name, glyphs)
    left = Text.assemble((name, style.TITLE), f" on {text.clean(found.node, glyphs)}")
    right = Text(_receipt(found, glyphs))
    if found.receipt_holds is False:
        right.stylize(style.BAD)
    gap = width - left.cell_len - right.cell_len
    if gap < 2:
        return Text("\n").join([left, right]) if right.cell_len else left
    return Text.assemble(left, " " * gap, right)


def _receipt(found: Explanation, glyphs: Glyphs) -> str:
    if found.decided_wall_s is None:
        return "nothing decided yet"
    decided = f"decided {text.age(found.taken_wall_s - found.decided_wall_s, glyphs)} ago"
    if found.receipt_id is None:
        return decided
    mark = {True: f" {glyphs.yes}", False: f" {glyphs.no} DOES NOT HOLD", None: ""}[found.receipt_holds]
    return f"{decided}, receipt {text.clean(found.receipt_id[:6], glyphs)}{mark}"


def _facts(found: Explanation, glyphs: Glyphs) -> list[tuple[str, str]]:
    row = found.workload
    facts = [("seen", _seen(found, glyphs))]
    if row.managed:
        facts += [
            ("", _stall(found, glyphs)),
            ("estimate", _estimate(found, glyphs)),
            ("bid", _bid(found)),
            ("market", _market(found)),
            ("", _arithmetic(found)),
        ]
    if found.share is not None and found.share.problems:
        facts.append(("receipt", f"does not hold: {'; '.join(found.share.problems)}"))
    facts.append(("latency", latency(row, found.taken_wall_s, glyphs)))
    if found.guard is not None:
        facts.append(("guard", f"{_clock(found.guard.wall_s)}: {found.guard.message}"))
    facts += [("resize", _resize(found, glyphs)), ("cgroup", row.cgroup)]
    return [(label, sentence) for label, sentence in facts if sentence]


def _seen(found: Explanation, glyphs: Glyphs) -> str:
    row = found.workload
    use = f"usage {row.usage_milli:.0f}m"
    if not row.managed:
        return use
    throttled = f"throttled in {text.percent(row.throttled_ratio, glyphs)} % of its periods"
    since = f" ({row.throttled_periods} of {row.periods} since the daemon knows it)" if row.periods else ""
    return f"{use}, {throttled}{since}"


def _stall(found: Explanation, glyphs: Glyphs) -> str:
    row = found.workload
    if row.stall_limit_ratio is None:
        return "why it waited is not known: this kernel has no PSI for it"
    if not row.stalled_s:
        return "it did not wait"
    limit, neighbour, own = (
        text.percent(ratio, glyphs)
        for ratio in (row.stall_limit_ratio, row.stall_neighbour_ratio, row.stall_self_ratio)
    )
    return (
        f"it waited {row.stalled_s:.1f} s: {limit} % for its own limit, {neighbour} % for neighbours, "
        f"{own} % for its own parallelism"
    )


def latency(row: WorkloadSnapshot, now_wall_s: float, glyphs: Glyphs) -> str:
    """What is known of a workload's latency and what follows from it; empty: nobody asked for anything."""
    if row.slo_p99_s is None and not row.p99_source:
        return ""
    expected = "" if row.slo_p99_s is None else f"{row.slo_p99_s * 1000:.0f} ms expected, "
    if not row.p99_source or row.p99_read_wall_s is None:
        return f"{expected}nobody says what it is"
    said = f"{row.p99_source}, {text.age(now_wall_s - row.p99_read_wall_s, glyphs)} ago"
    seen = "" if row.p99_s is None else f"p99 {row.p99_s * 1000:.0f} ms, "
    verdict = {True: "violated", False: "kept", None: "too old to count"}[row.slo_violated]
    times = f"; violated in {row.slo_violations} periods so far" if row.slo_violations else ""
    borne = "" if row.leniency == 1 else f"; it may bear {row.leniency:.2g} times its usual throttling"
    return f"{seen}{expected}{verdict} ({said}){times}{borne}"


def _estimate(found: Explanation, glyphs: Glyphs) -> str:
    row = found.workload
    if text.known(row.need_milli) is None:
        return ""
    reason = f" ({row.advice})" if row.advice else ""
    foretold = f"; peak of the next 5 s {format_cpu_milli(row.forecast_milli)}" if row.forecast_milli else ""
    arrow = "->" if glyphs.ascii_only else "→"
    smoothed = f"smoothed use {row.smoothed_milli:.0f}m"
    return f"{found.estimator}{reason}: {smoothed} {arrow} need {row.need_milli:.0f}m{foretold}"


def _bid(found: Explanation) -> str:
    row, share = found.workload, found.share
    owner = format_cpu_milli(row.owner_limit_milli)
    words = (
        f"floor {row.floor_milli:.0f}m, cap {row.cap_milli:.0f}m, weight {row.weight:g} "
        f"(class {row.workload_class}); its owner set {owner}"
    )
    if share is None:
        return words
    window = ""
    if share.upper_milli is not None and share.upper_milli < share.asked_milli:
        window = f", but no more than {share.upper_milli:.0f}m at once"
    elif share.lower_milli is not None and share.binding == Binding.LOWER.value:
        window = f", and no less than {share.lower_milli:.0f}m for now"
    return f"{words}; asked for {share.asked_milli:.0f}m{window}"


def _market(found: Explanation) -> str:
    share, row = found.share, found.workload
    if share is None:
        if found.market_mode is None:
            return "not cleared yet"
        gives = f"; gives {row.target_milli:.0f}m" if row.target_milli is not None else ""
        return f"{found.market_mode}; price {_price(found.price)}{gives}; held by {row.held_by}"
    return (
        f"{share.mode}: {share.workloads} workloads want {share.wanted_milli:.0f}m, "
        f"{share.capacity_milli:.0f}m to give; price {_price(share.price)} (cleared for: {share.trigger})"
    )


def _arithmetic(found: Explanation) -> str:
    """How the price, or whatever else holds it, makes the allocation."""
    share = found.share
    if share is None:
        return ""
    given = f"{share.given_milli:.0f}m"
    group = f" in group {share.group}" if share.group is not None else ""
    if share.binding == Binding.CAP.value:
        return f"{share.mechanism} gives all that it asked for{group}: {given}"
    if share.binding == Binding.INTERIOR.value and share.priced_milli is not None:
        sum_of = f"floor {share.floor_milli:.0f}m + weight {share.weight:g} / price"
        return f"{share.mechanism} gives {sum_of}{group} = {share.priced_milli:.0f}m{_rounded(share)}"
    if share.binding == Binding.INTERIOR.value and share.ratio is not None:
        return f"{share.mechanism} gives everybody the same {share.ratio * 100:.1f} % of the reach{group}: {given}"
    held = {
        Binding.FLOOR.value: f"its floor holds it{group}: {given}",
        Binding.LOWER.value: f"its window holds it up{group}: {given}",
        Binding.UPPER.value: f"its window holds it back{group}: {given}",
        Binding.MINIMUM.value: f"it gets the minimum that everybody gets{group}: {given}",
    }
    return held.get(share.binding, f"{share.mechanism} gives {given}{group}")


def _rounded(share: Share) -> str:
    if not share.quantum_milli or share.priced_milli is None or abs(share.priced_milli - share.given_milli) < 0.5:
        return ""
    return f", rounded {share.given_milli:.0f}m (steps of {share.quantum_milli:g}m)"


def _price(price: float | None) -> str:
    price = text.known(price)
    return "none" if price is None else f"{price:.2g}" if 0 < price < 0.001 else f"{price:.4f}" if price else "0"


def _resize(found: Explanation, glyphs: Glyphs) -> str:
    change, row = found.change, found.workload
    arrow = "->" if glyphs.ascii_only else "→"
    if change is not None:
        moved = f"{format_cpu_milli(change.from_milli)} {arrow} {format_cpu_milli(change.to_milli)}"
        words = f"{moved}, asked {_clock(change.asked_wall_s)}"
        if change.status == "applied":
            return f"{words}, in the cgroup {change.took_s * 1000:.0f} ms later ({_count(row.resizes)} in all)"
        return f"{words}: {change.status}{f', {change.detail}' if change.detail else ''}"
    if row.last_change_wall_s is None:
        return "never" if row.managed else ""
    ago = text.age(found.taken_wall_s - row.last_change_wall_s, glyphs)
    return f"{text.change(row.last_change_milli, glyphs)} {ago} ago ({_count(row.resizes)} in all)"


def _without(found: Explanation) -> list[str]:
    if not found.without:
        return []
    policies = " · ".join(map(_policy, found.without))
    span = format_duration(round(found.replayed_s))
    return [f"Without MBCAS it would have had, over the last {span} of recorded use: {policies}"]


def _policy(result: Counterfactual) -> str:
    limit = format_cpu_milli(result.limit_milli)
    throttled = f"{result.throttled_ratio * 100:.0f} % throttled"
    if result.policy is Policy.STATIC:
        return f"the owner's limit {limit} ({throttled})"
    if result.policy is Policy.VPA:
        when = f" in about {_about(result.acts_after_s)}" if result.acts_after_s is not None else ""
        return f"VPA {limit}{when} ({throttled})"
    return f"{result.policy.value} {limit} ({throttled}, {_count(result.changes)})"


def _count(changes: int) -> str:
    return "1 change" if changes == 1 else f"{changes} changes"


def _about(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"


def _more(found: Explanation) -> list[str]:
    if found.gone or not found.workload.managed or not found.lacks_milli:
        return []
    if found.remedies:
        ways = " or ".join(f"{remedy.action} (gives {remedy.gives_milli:.0f}m)" for remedy in found.remedies)
        return [f"To give it more: {ways}."]
    if found.workload.held_by in _PASSING and found.run_mode == "enforce":
        return ["To give it more: nothing needs to be done, it gets more as soon as it may move."]
    return []


def _clock(wall_s: float) -> str:
    try:
        return datetime.fromtimestamp(wall_s, UTC).astimezone().strftime("%H:%M:%S.%f")[:-5]
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"


def _labelled(label: str, words: str, width: int) -> list[Text]:
    pieces = textwrap.wrap(words, width - _LABEL_WIDTH, break_on_hyphens=False) or [""]
    return [
        Text.assemble((f" {label if at == 0 else '':<{_LABEL_WIDTH - 1}}", style.KEY), piece)
        for at, piece in enumerate(pieces)
    ]


def _wrapped(words: str, width: int, colour: str) -> list[Text]:
    return [Text(piece, style=colour) for piece in textwrap.wrap(words, width, break_on_hyphens=False) or [""]]
