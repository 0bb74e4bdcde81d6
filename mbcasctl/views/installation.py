"""What an installation, an upgrade and a removal did, as text and as data; pure."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from mbcasctl.cluster.readiness import Readiness
from mbcasctl.views import style
from mbcasctl.views.text import UNICODE, Glyphs, clean
from mbcasd.kube.install import Change, Changed

_MODES = {
    "observe": "It watches, and moves no limit.",
    "recommend": "It writes what it would do into PodAllocations, and moves no limit.",
    "enforce": "It moves the limits of pods that are opted in.",
}


def summary_of(changes: Sequence[Changed], *, dry_run: bool = False) -> str:
    """One line: `25 objects: 3 created, 22 unchanged`."""
    counts = Counter(change.change for change in changes)
    parts = [f"{counts[kind]} {kind.value}" for kind in Change if counts[kind]]
    words = f"{len(changes)} object{'' if len(changes) == 1 else 's'}: {', '.join(parts) or 'nothing to do'}"
    return f"{words} (dry run: nothing was stored)" if dry_run else words


def progress(ready: Readiness) -> str:
    """How far the pods are, in one line."""
    words = (
        f"agents {ready.agents_ready} of {ready.agents_wanted}, "
        f"controllers {ready.controllers_ready} of {ready.controllers_wanted} ready"
    )
    counted = ready.agents_ready >= ready.agents_wanted and ready.controllers_ready >= ready.controllers_wanted
    return f"{words}, the change is still being rolled out" if counted and not ready.settled else words


def as_data(changes: Sequence[Changed], ready: Readiness | None, *, mode: str, dry_run: bool) -> dict[str, object]:
    """The result for `-o json` and `-o yaml`."""
    return {
        "mode": mode,
        "dry_run": dry_run,
        "objects": [
            {
                "kind": change.kind,
                "namespace": change.namespace,
                "name": change.name,
                "change": change.change.value,
                "note": change.note,
            }
            for change in changes
        ],
        "ready": None if ready is None else ready.complete,
        "readiness": ready,
    }


def ending(
    changes: Sequence[Changed],
    ready: Readiness | None,
    *,
    mode: str,
    dry_run: bool,
    glyphs: Glyphs = UNICODE,
) -> RenderableType:
    """What a person reads last: what is so now, and what to do next."""
    if dry_run:
        lines = [Text(clean(f"{change} (dry run)", glyphs)) for change in changes]
        return Group(*lines, Text("The server would take all of them. Nothing was changed.", style=style.TITLE))
    if ready is not None and not ready.complete:
        return Group(
            Text("MBCAS is applied, but does not run completely yet.", style=style.TITLE),
            Text("Kubernetes goes on trying. See how far it is with: mbcasctl status"),
        )
    verb = "is applied" if ready is None else "runs"
    lines = [Text(f"MBCAS {verb} in mode {mode}. {_MODES.get(mode, '')}", style=style.TITLE)]
    if ready is not None and ready.agents_wanted == 0:
        lines.append(Text("No node takes an agent: are there Linux nodes?", style=style.HELD))
    lines.append(Text("Next:"))
    lines += [_next(words, why) for words, why in _next_steps(mode, waited=ready is not None)]
    return Group(*lines)


def _next_steps(mode: str, *, waited: bool) -> list[tuple[str, str]]:
    steps = [] if waited else [("mbcasctl status", "see how far it is")]
    steps.append(("kubectl label namespace NAME mbcas.io/managed=true", "opt a namespace in"))
    steps.append(("mbcasctl top --namespace NAME", "watch what its pods need"))
    if mode != "enforce":
        steps.append(("mbcasctl upgrade --mode enforce", "let it move limits"))
    steps.append(("mbcasctl uninstall", "put limits back, remove it"))
    return steps


def _next(words: str, why: str) -> Text:
    line = Text(f"  {words:<50}", style=style.KEY)
    line.append(f" {why}", style=style.QUIET)
    return line
