import threading

from msgspec.structs import replace
from pictures import a_picture

from mbcasctl.sources import poller as poller_module
from mbcasctl.sources.poller import Poller
from mbcasd.errors import SourceError
from mbcasd.model.snapshot import NodeSnapshot

FIRST = a_picture()


class ScriptedSource:
    """Gives one answer after the other, the last one for ever."""

    place = "there"

    def __init__(self, *answers: NodeSnapshot | Exception) -> None:
        self._answers = list(answers)

    def snapshot(self) -> NodeSnapshot:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def moved(by_s: float) -> NodeSnapshot:
    return replace(FIRST, taken_wall_s=FIRST.taken_wall_s + by_s)


def wait_for(source: ScriptedSource, what, interval_s: float = 0.001):
    """Poll until the news is as expected, with a deadline."""
    arrived = threading.Event()
    with Poller(source, FIRST, interval_s, arrived.set) as poller:
        for _ in range(2000):
            news = poller.news()
            if what(news):
                return news
            assert arrived.wait(5)
            arrived.clear()
    raise AssertionError(news)


def test_the_newest_picture_is_the_news() -> None:
    assert wait_for(ScriptedSource(moved(1), moved(2)), lambda news: news.snapshot == moved(2)).trouble == ""


def test_a_lost_daemon_leaves_its_last_picture_and_says_that_it_tries_again() -> None:
    source = ScriptedSource(moved(1), SourceError("nobody there"))
    news = wait_for(source, lambda news: news.trouble)

    assert news.snapshot == moved(1)
    assert news.trouble == "lost the daemon 0 s ago, trying again: nobody there"


def test_a_daemon_that_comes_back_is_shown_again() -> None:
    source = ScriptedSource(SourceError("nobody there"), SourceError("nobody there"), moved(5))

    assert wait_for(source, lambda news: news.snapshot == moved(5)).trouble == ""


def test_a_daemon_that_answers_but_stands_still_is_noticed(monkeypatch) -> None:
    monkeypatch.setattr(poller_module, "STALE_S", -1.0)
    news = wait_for(ScriptedSource(FIRST), lambda news: news.trouble)

    assert "answers, but has not looked at its node" in news.trouble


def test_the_first_picture_is_there_before_anything_was_asked() -> None:
    assert Poller(ScriptedSource(moved(1)), FIRST, 1.0, lambda: None).news() == (FIRST, "")
