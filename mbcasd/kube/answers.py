"""What the API server said, or why it said nothing: urllib3's errors and Status objects in MBCAS's words."""

import contextlib
import email.utils
import errno
import http.client
import math
import ssl
import time
from collections.abc import Iterator

import msgspec
from urllib3 import BaseHTTPResponse, exceptions

from mbcasd.errors import ApiAway, ApiRefused

# The longest that an answer may ask to wait; more is a mistake, or malice.
LONGEST_RETRY_AFTER_S = 300.0


class BrokenOff(ApiAway):
    """The connection ended before the answer began, as one does that had been idle for too long."""


class Cause(msgspec.Struct, frozen=True):
    """One cause of a refusal."""

    reason: str = ""
    field: str = ""
    message: str = ""


class Details(msgspec.Struct, frozen=True, rename="camel"):
    """More about a refusal."""

    causes: tuple[Cause, ...] = ()
    retry_after_seconds: float = 0


class Status(msgspec.Struct, frozen=True):
    """The object that the API server answers with instead of the one that was asked for."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None

    def refusal(self, code: int = 0, retry_after_s: float | None = None) -> ApiRefused:
        """It as an error; `code` and `retry_after_s` are what HTTP said."""
        details = self.details or Details()
        if retry_after_s is None and details.retry_after_seconds > 0:
            retry_after_s = min(details.retry_after_seconds, LONGEST_RETRY_AFTER_S)
        return ApiRefused(
            code or self.code or 500,
            self.reason,
            self.message,
            tuple((cause.reason, cause.field, cause.message) for cause in details.causes),
            retry_after_s,
        )


_decode_status = msgspec.json.Decoder(Status).decode


def refusal(response: BaseHTTPResponse, body: bytes) -> ApiRefused | ApiAway:
    """What an answer that is no success means."""
    if response.status < 400:
        where = response.headers.get("Location", "nowhere")
        return ApiAway(f"API server not understood (HTTP {response.status} to {where}: is this an API server?)")
    retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
    try:
        status = _decode_status(body)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a gateway's page
        text = " ".join(body[:2000].decode("utf-8", "replace").split())[:200]
        status = Status(message=f"HTTP {response.status} {response.reason or ''}: {text}".rstrip(": "))
    return status.refusal(response.status, retry_after_s)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn every way of not getting an answer into ApiAway, with the reason in a few words."""
    try:
        yield
    except exceptions.ProtocolError as err:
        raise BrokenOff(f"API server not reachable ({_why(err)})") from err
    except (exceptions.HTTPError, http.client.HTTPException, OSError) as err:
        raise ApiAway(f"API server not reachable ({_why(err)})") from err


def _why(err: BaseException) -> str:
    """The reason in a few words: what is known best comes first."""
    seen = _chain(err)
    for one in seen:
        # What OpenSSL raises has these attributes, what Python raises in its name has not.
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {getattr(one, 'verify_message', None) or one}"
        reason = getattr(one, "reason", None) if isinstance(one, ssl.SSLError) else None
        if isinstance(reason, str) and not isinstance(one, ssl.SSLEOFError):
            return f"TLS failed: {reason.lower().replace('_', ' ')}"
    if any(isinstance(one, exceptions.ProxyError) for one in seen):
        return f"the proxy does not answer as it should: {_words(seen[-1])}"
    for one in seen:
        if isinstance(one, OSError) and one.errno in _WORDS_BY_ERRNO:
            return _WORDS_BY_ERRNO[one.errno]
    for kinds, words in _WORDS_BY_KIND:
        if any(isinstance(one, kinds) for one in seen):
            return words
    return _words(seen[-1])


_WORDS_BY_KIND: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (exceptions.NameResolutionError, "its name is not known to DNS"),
    (exceptions.ConnectTimeoutError, "no connection in time"),
    ((exceptions.ReadTimeoutError, TimeoutError), "no answer in time"),
    (
        (http.client.RemoteDisconnected, http.client.IncompleteRead, ssl.SSLEOFError),
        "connection closed by the other end",
    ),
)

_WORDS_BY_ERRNO = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection closed by the other end",
    errno.ENETUNREACH: "network unreachable",
    errno.EHOSTUNREACH: "no route to host",
}


def _words(err: BaseException) -> str:
    return (err.strerror if isinstance(err, OSError) and err.strerror else str(err)).lower() or type(err).__name__


def _chain(err: BaseException) -> list[BaseException]:
    """The error and what led to it, outermost first; urllib3 hides some in the arguments."""
    seen: list[BaseException] = []
    waiting: list[object] = [err]
    while waiting and len(seen) < 20:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or one in seen:
            continue
        seen.append(one)
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return seen


def _retry_after_s(text: str | None) -> float | None:
    """Seconds of a Retry-After header, which has a number or a date."""
    if text is None:
        return None
    try:
        wait_s = float(text)
    except ValueError:
        try:
            wait_s = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(0.0, wait_s), LONGEST_RETRY_AFTER_S) if math.isfinite(wait_s) else None
