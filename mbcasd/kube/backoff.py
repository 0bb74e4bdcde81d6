"""How long to wait before the next try, and how a person is told."""

import random

FIRST_S, LONGEST_S = 0.8, 30.0


class Backoff:
    """Waits that double from try to try, each a little different, so that a thousand agents do not come at once."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        """Begin with no failure."""
        self._first_s, self._longest_s = first_s, longest_s
        self.failures = 0  # in a row

    def failed(self, retry_after_s: float | None = None) -> float:
        """Count one failure, and return how many seconds to wait: at least what the server asked for."""
        # 2 ** 20 times the first wait is above any longest one; the exponent must not grow for days.
        base_s = self._first_s * 2.0 ** min(self.failures, 20)
        self.failures += 1
        wait_s = min(self._longest_s, base_s * random.uniform(1.0, 1.5))  # noqa: S311 - no secret
        return max(wait_s, retry_after_s or 0.0)

    def reset(self) -> None:
        """It works again."""
        self.failures = 0

    def first_s(self) -> float:
        """The first wait, without counting a failure."""
        return self._first_s * random.uniform(1.0, 1.5)  # noqa: S311 - no secret

    def soon_s(self) -> float:
        """A wait that spreads those who were interrupted at the same moment; below the first one."""
        return random.uniform(0.0, self._first_s)  # noqa: S311 - no secret


def sentence(why: str, wait_s: float, failures: int) -> str:
    """What a person reads: `API server not reachable (…), limits stay as they are; next try in 4 s (3rd)`."""
    return f"{why}, limits stay as they are; next try in {max(1, round(wait_s))} s ({ordinal(failures)})"


def ordinal(number: int) -> str:
    """The number as one counts tries: 1st, 2nd, 3rd, 4th, 11th."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if 10 <= number % 100 <= 20 else endings.get(number % 10, 'th')}"
