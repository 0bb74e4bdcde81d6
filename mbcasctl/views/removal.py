"""What an uninstall did, as text and as data; pure."""

from rich.console import Group, RenderableType
from rich.text import Text

from mbcasctl.cluster.removing import Removal
from mbcasctl.views import restored_pods, style
from mbcasctl.views.text import UNICODE, Glyphs, clean

_MOST_NAMED = 5


def as_data(removal: Removal) -> dict[str, object]:
    """The result for `-o json` and `-o yaml`."""
    return {
        "dry_run": removal.dry_run,
        "done": removal.is_good and not removal.dry_run,
        "restored": restored_pods.as_data(removal.restored),
        "removed": [
            {"kind": change.kind, "namespace": change.namespace, "name": change.name} for change in removal.removed
        ],
        "left": list(removal.left),
        "labelled_namespaces": list(removal.labelled),
    }


def as_text(removal: Removal, glyphs: Glyphs = UNICODE) -> RenderableType:
    """What a person reads last."""
    parts: list[RenderableType] = [restored_pods.as_text(removal.restored, glyphs)] if removal.restored.pods else []
    if removal.dry_run:
        parts += [Text(clean(f"{change} (dry run)", glyphs)) for change in removal.removed]
    parts.append(Text(clean(_ending(removal), glyphs), style=style.TITLE))
    if removal.stopped_early and not removal.dry_run:
        parts.append(
            Text(
                "The controllers are stopped, nothing else was changed. Once the reason is gone, run it again; "
                "--force removes MBCAS all the same, and with it what the owners had set."
            )
        )
        if removal.restored.stopped_replicas:
            parts.append(Text("To go on with MBCAS instead: mbcasctl upgrade", style=style.QUIET))
    if removal.labelled and removal.is_good:
        more = len(removal.labelled) - _MOST_NAMED
        named = ", ".join(removal.labelled[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        parts.append(Text(clean(f"Your label mbcas.io/managed stays on: {named}", glyphs), style=style.QUIET))
    return Group(*parts)


def _ending(removal: Removal) -> str:
    if removal.stopped_early:
        failed = len(removal.restored.failed)
        return f"Nothing was removed: {failed} pod{'' if failed == 1 else 's'} could not be put back."
    if removal.dry_run:
        return "Nothing was changed."
    if removal.left:
        return "MBCAS is removed, but some objects are not gone yet; running it again goes on."
    if not removal.removed:
        return "There was nothing of MBCAS to remove."
    return "Nothing of MBCAS is left on this cluster."
