"""One workload of a cluster in words: what its agent says, what was decided, what became of it; pure."""

import textwrap

from rich.text import Text

from mbcasctl.cluster.explaining import AllocationStory, ClusterExplanation, ContainerStory, Told
from mbcasctl.views import explain, style, text
from mbcasctl.views.text import UNICODE, Glyphs, clean

_LABEL_WIDTH = 10

_PHASES = {"Applied": style.GOOD, "Pending": style.HELD, "Failed": style.BAD}

_CONDITIONS = {"ResizePending": "pending", "Conflict": "conflict"}

_REASONS = {
    "Resized": "the kubelet has put it in force",
    "Held": "as far as LimitRange, request and QoS class allow",
    "Restored": "what the owner had set is back",
    "InProgress": "the kubelet has not confirmed it yet",
    "InSteps": "a part is in force, the next step follows",
    "NotRunning": "a container has not started yet",
    "ChangedByOther": "somebody else resized the pod, so MBCAS leaves it alone; delete the PodAllocation to go on",
    "NotConfirmed": "the kubelet has not confirmed it for a long time",
    "ResizeError": "the kubelet tries and fails",
    "NoContainer": "the pod has no such container",
    "NoLimit": "a container has no limit, and one that is added could never be taken off again",
    "WouldRestart": "the container's resizePolicy would restart it",
    "Guaranteed": "pods of QoS class Guaranteed are left alone",
    "Deferred": "the node has no room for its request yet; the kubelet goes on trying",
    "Infeasible": "this node never can",
    "NodeCapacity": "the request is more than the node has",
    "QuotaExceeded": "a ResourceQuota of the namespace is used up",
    "LimitRange": "a LimitRange of the namespace does not allow it",
    "ApiTrouble": "the API server could not, and is asked again",
    "Forbidden": "a permission, an admission policy or a webhook forbids it",
}


def as_text(found: ClusterExplanation, width: int, glyphs: Glyphs = UNICODE) -> Text:
    """Everything for people, no line wider than `width`."""
    width = max(40, width)
    parts = [explain.as_text(one, width, glyphs) for one in found.explanations]
    if not parts:
        parts.append(Text(clean(f"{found.pod} on {found.node or 'an unknown node'}", glyphs), style=style.TITLE))
    lines: list[Text] = []
    if found.allocation is not None:
        lines += _allocation(found.allocation, found.now_wall_s, width, glyphs)
    else:
        lines.append(
            Text("No PodAllocation: nothing was decided for it, and MBCAS has moved nothing.", style=style.QUIET)
        )
    lines += [line for event in found.events for line in _event(event, found.now_wall_s, width, glyphs)]
    lines += [
        Text(line, style=style.QUIET)
        for sentence in found.missing
        for line in textwrap.wrap(f"Not known: {clean(sentence, glyphs)}", width)
    ]
    parts.append(Text("\n").join(lines))
    return Text("\n\n").join(parts)


def _allocation(story: AllocationStory, now_s: float, width: int, glyphs: Glyphs) -> list[Text]:
    title = Text(clean(f"PodAllocation {story.name}", glyphs), style=style.TITLE)
    title.append(f"  {clean(story.phase, glyphs)}", style=_PHASES.get(story.phase, ""))
    title.truncate(width, overflow="crop")
    lines = [title, Text()]
    for container in story.containers:
        lines += _labelled("owner", f"{container.name}: {_owner(container)}", width, glyphs)
        when = f", {text.age(now_s - story.decided_wall_s, glyphs)} ago" if story.decided_wall_s else ""
        decided = f"{container.name}: {_cpu(container.decided_limit_milli, container.decided_request_milli)}{when}"
        lines += _labelled("decided", decided, width, glyphs)
        set_to = "nothing yet" if container.set_limit_milli is None else f"{container.set_limit_milli}m"
        when = f", {text.age(now_s - story.applied_wall_s, glyphs)} ago" if story.applied_wall_s else ""
        lines += _labelled("set", f"{container.name}: {set_to}{when}", width, glyphs)
    if story.decided_for:
        lines += _labelled("because", story.decided_for, width, glyphs)
    if story.reason:
        words = _REASONS.get(story.reason)
        lines += _labelled("result", f"{story.reason}{f': {words}' if words else ''}", width, glyphs)
    if story.recommend_only:
        lines += _labelled("mode", "only a recommendation: no limit is moved", width, glyphs)
    if story.released:
        lines += _labelled("mode", "not managed any more: the owner's values go back", width, glyphs)
    for condition in story.conditions:
        if condition.status == "True" and condition.type != "Applied":
            words = f"{condition.reason}: {condition.message}".strip(": ")
            label = _CONDITIONS.get(condition.type, condition.type)
            lines += _labelled(label, words, width, glyphs)
    return lines


def _event(event: Told, now_s: float, width: int, glyphs: Glyphs) -> list[Text]:
    times = f" ({event.count} times)" if event.count > 1 else ""
    ago = f"{text.age(now_s - event.wall_s, glyphs)} ago"
    return _labelled(ago, f"{event.reason}: {event.note}{times}", width, glyphs)


def _owner(container: ContainerStory) -> str:
    return _cpu(container.owner_limit_milli, container.owner_request_milli)


def _cpu(limit_milli: int | None, request_milli: int | None) -> str:
    limit = "no limit" if limit_milli is None else f"{limit_milli}m"
    return limit if request_milli is None else f"{limit} (request {request_milli}m)"


def _labelled(label: str, words: str, width: int, glyphs: Glyphs) -> list[Text]:
    wrapped = textwrap.wrap(clean(words, glyphs), max(20, width - _LABEL_WIDTH - 1)) or [""]
    label = clean(label, glyphs)
    if len(label) >= _LABEL_WIDTH:  # a condition's long name gets a line of its own
        return [Text(f" {label}", style=style.KEY), *(Text(f" {'':{_LABEL_WIDTH - 1}} {line}") for line in wrapped)]
    first = Text(f" {label:<{_LABEL_WIDTH - 1}} ", style=style.KEY)
    first.append(wrapped[0], style="not bold")
    return [first, *(Text(f" {'':{_LABEL_WIDTH - 1}} {line}") for line in wrapped[1:])]


def as_data(found: ClusterExplanation) -> dict[str, object]:
    """Everything for `-o json` and `-o yaml`."""
    return {
        "pod": found.pod,
        "node": found.node,
        "containers": [explain.as_data(one) for one in found.explanations],
        "allocation": found.allocation,
        "events": list(found.events),
        "missing": list(found.missing),
    }
