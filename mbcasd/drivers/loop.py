"""The deadline grid: what is due when, without drift and without bursts."""


class Grid:
    """Deadlines `start + n × period`.

    They come from the start time, not from the end of the last pass, so that a slow pass does not push all
    later ones. Missed deadlines are counted and skipped, never made up for: a burst of stale decisions is
    worse than a gap.
    """

    __slots__ = ("due_s", "missed", "period_s")

    def __init__(self, start_s: float, period_s: float) -> None:
        """Start the grid; the first deadline is `start_s` itself."""
        self.due_s, self.period_s, self.missed = start_s, period_s, 0

    def is_due(self, now_s: float) -> bool:
        """Whether the deadline has come; if so the next one on the grid takes its place."""
        late_s = now_s - self.due_s
        if late_s < 0:
            return False
        missed = int(late_s // self.period_s)
        self.missed += missed
        self.due_s += (missed + 1) * self.period_s
        return True
