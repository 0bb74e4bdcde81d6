"""What the engine's driver needs from whatever moves limits."""

from collections.abc import Iterable
from typing import Protocol

from mbcasd.model.resizing import Resize, ResizeOutcome


class Actuator(Protocol):
    """Moves limits; `host` and `kube` have one each, tests have a fake.

    Never blocks the caller for longer than a file write: a slow backend works in a thread of its own and
    hands the outcome over at a later `collect`.
    """

    def submit(self, resize: Resize) -> None:
        """Start one resize. At most one per workload is under way; its outcome comes with `collect`."""

    def collect(self) -> Iterable[ResizeOutcome]:
        """Outcomes that have become known since the last call."""
