"""Asks a Prometheus for the p99 of each workload, in a thread of its own.

Twice per period, so that a decision always finds a fresh reading. One question at a time, each within its time-out;
a server that does not answer three times in a row is left alone for the rest of the round and asked less and less
often. Nothing here can hold the loops: what comes in time is collected, the rest does not exist.
"""

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from mbcasd.bidding.contract import matches
from mbcasd.clock import Clock
from mbcasd.guarding.slo import objective_s
from mbcasd.latency import fetch
from mbcasd.latency.port import SourceHealth
from mbcasd.latency.question import ALIVE, Answer, Result, read_answer, render, target
from mbcasd.model.decision import Workload
from mbcasd.model.identity import WorkloadId
from mbcasd.model.slo import LatencyReading, LatencySourceKind
from mbcasd.settings import GuardrailSettings, WorkloadRule

log = logging.getLogger(__name__)

# One series is some hundred bytes, labels included.
MOST_BYTES = 64 * 1024
# Questions per round: a node has a hundred containers, rarely two.
MOST_QUESTIONS = 250
_GIVE_UP_AFTER = 3
_LONGEST_PAUSE_S = 300.0
_PROBLEMS_NAMED = 5


class _Question:
    """What is asked about one workload, and what came of it."""

    __slots__ = ("answer", "answered_at_s", "named", "query", "since_s")

    def __init__(self, query: str, *, named: bool, since_s: float) -> None:
        self.query, self.named, self.since_s = query, named, since_s
        self.answer: Answer | None = None  # the last one
        self.answered_at_s = since_s  # the last one with a number


class Prometheus:
    """One Prometheus; fits `port.LatencySource`."""

    def __init__(self, url: str, guard: GuardrailSettings, rules: Sequence[WorkloadRule], clock: Clock) -> None:
        """Prepare; nobody is asked before there is something to ask for.

        Raises:
            ConfigError: The URL is none.
        """
        self._address = fetch.parse_address(url, "guardrail.prometheus_url")
        self._guard, self._rules, self._clock = guard, rules, clock
        self._lock = threading.Lock()
        self._questions: dict[WorkloadId, _Question] = {}
        # What was decided about each workload: this is asked once a second about a hundred that do not change.
        self._decided: dict[WorkloadId, tuple[Workload, str | None]] = {}
        self._readings: dict[WorkloadId, LatencyReading] = {}
        self._answers: Counter[str] = Counter()
        self._trouble = ""
        self._pause_s = self._period_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def _period_s(self) -> float:
        return self._guard.slo_period_s / 2

    @property
    def asked(self) -> frozenset[WorkloadId]:
        """Whom it is asked for."""
        return frozenset(self._questions)

    @property
    def health(self) -> SourceHealth:
        """How it does."""
        with self._lock:
            questions = dict(self._questions)
            answers = dict(self._answers)
        now_s = self._clock.now_s()
        unknown = _common_problem(questions) + [
            f"the latency of {name} is not known: {question.answer.words}"
            for name, question in questions.items()
            if question.named
            and question.answer is not None
            and question.answer.result in ALIVE
            and now_s - question.answered_at_s > self._guard.slo_staleness_s
        ]
        if len(questions) > MOST_QUESTIONS:
            unknown.insert(0, f"only the first {MOST_QUESTIONS} of {len(questions)} workloads are asked for")
        if len(unknown) > _PROBLEMS_NAMED:
            unknown = [*unknown[:_PROBLEMS_NAMED], f"the latency of {len(unknown) - _PROBLEMS_NAMED} more is not known"]
        return SourceHealth(
            LatencySourceKind.PROMETHEUS, not self._trouble, str(self._address), self._trouble, answers, tuple(unknown)
        )

    def query_of(self, name: WorkloadId, workload: Workload) -> str | None:
        """What would be asked about a workload; None: nothing, it has no objective or there is no query for it."""
        if not workload.managed or objective_s(workload.contract, self._guard) is None:
            return None
        pod = name._replace(container="")
        rule = next((rule for rule in self._rules if matches(rule, name) or matches(rule, pod)), None)
        template = (rule.slo_query if rule is not None else None) or self._guard.slo_query
        return None if template is None else render(template, name)

    def watch(self, workloads: Mapping[WorkloadId, Workload]) -> None:
        """Ask for these from now on."""
        now_s = self._clock.now_s()
        wanted: dict[WorkloadId, _Question] = {}
        before, self._decided = self._decided, {}
        for name, workload in workloads.items():
            decided = before.get(name)
            is_known = decided is not None and (decided[0] is workload or decided[0] == workload)
            query = decided[1] if decided is not None and is_known else self.query_of(name, workload)
            self._decided[name] = workload, query
            if query is None:
                continue
            named, known = workload.contract.slo_p99_s is not None, self._questions.get(name)
            if known is not None and (known.query, known.named) == (query, named):
                wanted[name] = known
            else:
                wanted[name] = _Question(query, named=named, since_s=now_s)
        with self._lock:
            self._questions = wanted
        if wanted and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="latency-prometheus", daemon=True)
            self._thread.start()

    def collect(self) -> Mapping[WorkloadId, LatencyReading]:
        """Readings that have come since the last call."""
        if not self._readings:
            return {}
        with self._lock:
            readings, self._readings = self._readings, {}
        return readings

    def close(self) -> None:
        """Ask nothing more; a question under way is given up."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(0.1)

    def _run(self) -> None:
        while True:
            began_s = self._clock.now_s()
            self.ask_all()
            took_s = self._clock.now_s() - began_s
            # At least a second, also where answers take as long as the period.
            if self._stop.wait(max(1.0, self._pause_s - took_s)):
                return

    def ask_all(self) -> None:
        """One round: a question for each workload, as far as somebody answers."""
        with self._lock:
            questions = list(self._questions.items())[:MOST_QUESTIONS]
        failed_in_a_row, understood, trouble = 0, False, ""
        for name, question in questions:
            if self._stop.is_set():
                return
            answer = self._ask(question.query)
            self._take(name, question, answer)
            if answer.result in ALIVE:
                failed_in_a_row = 0
            else:
                failed_in_a_row += 1
            if answer.result in ALIVE and answer.result is not Result.REFUSED:
                understood = True
            else:
                trouble = trouble or answer.words
            if failed_in_a_row == _GIVE_UP_AFTER:
                break
        if questions:
            self._note("" if understood else trouble)

    def _ask(self, query: str) -> Answer:
        within_s = self._guard.slo_timeout_s
        try:
            fetched = fetch.get(self._address, target(query), within_s=within_s, most_bytes=MOST_BYTES)
        except TimeoutError:
            return Answer(Result.TIMEOUT, words=f"no whole answer within {within_s:g} s")
        except fetch.TooLarge:
            return Answer(Result.LARGE, words=f"its answer is longer than {MOST_BYTES // 1024} KiB")
        except fetch.NotHttp:
            return Answer(Result.MALFORMED, words="its answer is not HTTP, or breaks off")
        except OSError as err:
            return Answer(Result.AWAY, words=f"it cannot be reached: {err.strerror or err}")
        if 300 <= fetched.status < 400:
            return Answer(Result.REDIRECT, words="it sends us somewhere else: name that place in its stead")
        return read_answer(
            fetched.status, fetched.body, wall_s=self._clock.wall_s(), staleness_s=self._guard.slo_staleness_s
        )

    def _take(self, name: WorkloadId, question: _Question, answer: Answer) -> None:
        now_s = self._clock.now_s()
        with self._lock:
            self._answers[answer.result.value] += 1
            question.answer = answer
            if answer.p99_s is not None:
                question.answered_at_s = now_s
                self._readings[name] = LatencyReading(now_s, LatencySourceKind.PROMETHEUS, answer.p99_s)

    def _note(self, trouble: str) -> None:
        """Say once per change how it does, and ask a silent one less and less often."""
        if not trouble:
            if self._trouble:
                log.info("prometheus at %s answers again", self._address)
            self._pause_s = self._period_s
        elif not self._trouble:
            log.warning(
                "prometheus at %s: %s; throttling targets stay as they are, next try in %.0f s",
                self._address, trouble, self._pause_s,
            )  # fmt: skip
        else:
            self._pause_s = min(max(_LONGEST_PAUSE_S, self._period_s), self._pause_s * 2)
        self._trouble = trouble


def _common_problem(questions: Mapping[WorkloadId, _Question]) -> list[str]:
    """Where not one workload has a latency, the query is wrong rather than the workloads; NaN is just no traffic."""
    answers = [question.answer for question in questions.values() if question.answer is not None]
    if not answers or any(answer.result in {Result.OK, Result.NAN} or answer.result not in ALIVE for answer in answers):
        return []
    return [f"prometheus knows the latency of none of {len(answers)} workloads: {answers[0].words}"]
