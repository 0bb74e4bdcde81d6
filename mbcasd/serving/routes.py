"""Which question gets which answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from mbcasd.errors import MbcasError, NoSuchWorkload
from mbcasd.model.slo import SloReport
from mbcasd.serving.http import Answer, Request, text
from mbcasd.serving.slo import parse_slo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Where the answers come from; all of it is called from the server's threads."""

    metrics: Callable[[], bytes]  # Prometheus text, format 0.0.4
    status: Callable[[], bytes]  # a NodeSnapshot as JSON
    healthy: Callable[[], tuple[bool, str]]  # whether the loops run, and a sentence
    ready: Callable[[], tuple[bool, str]]  # whether there is something to see, and a sentence
    slo: Callable[[SloReport], None] | None = None  # may refuse with BrokenInput (NoSuchWorkload); None: nobody listens


def answer(routes: Routes, request: Request, *, trusted: bool) -> Answer:
    """Answer one request.

    Args:
        routes: Where the answers come from.
        request: What was asked.
        trusted: It came through the Unix socket, whose file mode says who may: only there `/slo` is taken.

    Returns:
        The answer; a bug in a route is logged with its traceback and answered with 500.
    """
    readers: dict[str, Callable[[], Answer]] = {
        "/metrics": lambda: Answer(200, routes.metrics(), "text/plain; version=0.0.4; charset=utf-8"),
        "/healthz": lambda: _verdict(*routes.healthy()),
        "/readyz": lambda: _verdict(*routes.ready()),
        "/status": lambda: Answer(200, routes.status(), "application/json"),
    }
    try:
        if request.path == "/slo" and trusted:
            return _take_slo(routes, request)
        reader = readers.get(request.path)
        if reader is None:
            known = [f"GET {path}" for path in readers] + (["POST /slo"] if trusted else [])
            hint = " (POST /slo is taken on the Unix socket only)" if request.path == "/slo" else ""
            return text(404, f"nothing at {request.path[:100]}{hint}; there is {', '.join(known)}")
        if request.method not in {"GET", "HEAD"}:
            return _not_allowed(request, "GET, HEAD")
        return reader()
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return text(500, "this is a bug in mbcasd; its log has the details")


def _verdict(good: bool, sentence: str) -> Answer:
    return text(200 if good else 503, sentence or ("ok" if good else "not ok"))


def _take_slo(routes: Routes, request: Request) -> Answer:
    if request.method != "POST":
        return _not_allowed(request, "POST")
    if routes.slo is None:
        return text(503, "this daemon does not take SLO reports")
    try:
        routes.slo(parse_slo(request.body))
    except NoSuchWorkload as err:
        return text(404, str(err))
    except MbcasError as err:
        return text(400, str(err))
    return Answer(204)


def _not_allowed(request: Request, allow: str) -> Answer:
    return text(405, f"{request.path} takes {allow}")._replace(allow=allow)
