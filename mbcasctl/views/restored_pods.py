"""What became of the pods whose original values were put back, as text and as data; pure."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mbcasctl.cluster.restoring import RestoreReport
from mbcasctl.views import style
from mbcasctl.views.text import UNICODE, Glyphs, clean
from mbcasd.kube.restore import RestoredPod, RestoreResult

_WORDS = {
    RestoreResult.RESTORED: (style.GOOD, "put back"),
    RestoreResult.AS_OWNED: (style.GOOD, "was so already"),
    RestoreResult.WOULD: (style.HELD, "would be"),
    RestoreResult.ACCEPTED: (style.HELD, "not in force yet"),
    RestoreResult.LEFT_ALONE: (style.HELD, "left alone"),
    RestoreResult.GONE: (style.QUIET, "gone"),
    RestoreResult.FAILED: (style.BAD, "FAILED"),
}


def as_data(report: RestoreReport) -> dict[str, object]:
    """The report for `-o json` and `-o yaml`; a limit of null is none."""
    return {
        "all_as_owned": not report.failed,
        "controllers_stopped": report.stopped_replicas,
        "pods": [
            {
                "namespace": pod.namespace,
                "pod": pod.pod,
                "node": pod.node,
                "result": pod.result.value,
                "containers": [
                    {
                        "name": container.name,
                        "found_limit_milli": container.found_milli,
                        "owner_limit_milli": container.owner_milli,
                    }
                    for container in pod.containers
                ],
                "detail": pod.detail,
            }
            for pod in report.pods
        ],
    }


def as_text(report: RestoreReport, glyphs: Glyphs = UNICODE) -> RenderableType:
    """The report for people: one line per container that was not as its owner had it, reasons and the sum below."""
    parts: list[RenderableType] = []
    shown = [pod for pod in report.pods if pod.result is not RestoreResult.AS_OWNED]
    if shown:
        parts.append(_table(shown, glyphs))
    parts += [
        Text(clean(f"  {pod.namespace}/{pod.pod}: {pod.detail}", glyphs), style=_WORDS[pod.result][0])
        for pod in shown
        if pod.detail
    ]
    parts.append(Text(clean(summary(report), glyphs), style=style.TITLE))
    return Group(*parts)


def summary(report: RestoreReport) -> str:
    """One line: how many pods, and what became of them."""
    if not report.installed:
        return "nothing to put back: there are no PodAllocations on this cluster, MBCAS is not installed"
    if not report.pods:
        return "no pod has a PodAllocation: there is nothing to put back"
    counts = [
        (RestoreResult.RESTORED, "put back"),
        (RestoreResult.WOULD, "would be put back"),
        (RestoreResult.ACCEPTED, "put back, but not in force yet"),
        (RestoreResult.AS_OWNED, "as their owner had them"),
        (RestoreResult.LEFT_ALONE, "left alone, as somebody else has set them since"),
        (RestoreResult.GONE, "gone"),
        (RestoreResult.FAILED, "could NOT be put back"),
    ]
    parts = [f"{count} {words}" for result, words in counts if (count := report.count(result))]
    pods = f"{len(report.pods)} pod{'' if len(report.pods) == 1 else 's'}"
    return f"{pods}: {', '.join(parts)}"


def _table(pods: Sequence[RestoredPod], glyphs: Glyphs) -> Table:
    table = Table(box=None, pad_edge=False, header_style=style.TITLE)
    table.add_column("")
    table.add_column("POD", overflow="fold")
    table.add_column("NODE", overflow="fold")
    table.add_column("FOUND", justify="right", no_wrap=True)
    table.add_column("OWNER'S", justify="right", no_wrap=True)
    table.add_column("RESULT", no_wrap=True)
    for pod in pods:
        colour, words = _WORDS[pod.result]
        mark = Text(_mark(pod.result, glyphs), style=colour)
        result = Text(words, style=colour)
        name, node = clean(f"{pod.namespace}/{pod.pod}", glyphs), clean(pod.node, glyphs)
        if not pod.containers:
            table.add_row(mark, Text(name), Text(node), glyphs.none, glyphs.none, result)
        for container in pod.containers:
            whole = f"{name}:{clean(container.name, glyphs)}"
            table.add_row(
                mark, Text(whole), Text(node), _cpu(container.found_milli), _cpu(container.owner_milli), result
            )
    return table


def _mark(result: RestoreResult, glyphs: Glyphs) -> str:
    if result in {RestoreResult.RESTORED, RestoreResult.AS_OWNED}:
        return glyphs.yes
    if result is RestoreResult.FAILED:
        return glyphs.no
    return glyphs.dot if result is RestoreResult.GONE else "!"


def _cpu(milli: float | None) -> str:
    return "none" if milli is None else f"{milli:g}m"
