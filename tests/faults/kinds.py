"""What can go wrong between a client and the API server, as values that a proxy is given."""

import json
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody listens, and what was connected is broken off: the server is down."""


@dataclass(frozen=True, slots=True)
class ClosedAtOnce:
    """Connections are accepted and closed at once, those that stand are closed too."""


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Connections stand, new ones are accepted, and not a byte gets through: a lost route or a dead peer."""


@dataclass(frozen=True, slots=True)
class OldOnesDead:
    """Half-open for the connections that stand, while new ones work: what is left after a fail-over."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Not a byte gets through for so long; then all that was held goes on its way, late."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Slow:
    """Answers trickle."""

    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Answers end in the middle, and the connection with them."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """Requests are carried out, and the connection is closed in place of their answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy answers itself; the API server never hears of it."""

    code: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Fault = Refused | ClosedAtOnce | HalfOpen | OldOnesDead | Stall | Slow | Cut | AnswerLost | Answer


def status(code: int, reason: str, message: str, *, retry_after_s: int | None = None) -> Answer:
    """An answer as the API server words its refusals."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return Answer(code, json.dumps(body).encode(), headers)


def too_many_requests(retry_after_s: int) -> Answer:
    """What priority and fairness answer when a server has too much to do."""
    return status(429, "TooManyRequests", "please try again later", retry_after_s=retry_after_s)


def server_error() -> Answer:
    """What an API server without its etcd answers."""
    return status(500, "InternalError", "etcdserver: leader changed")


def expired() -> Answer:
    """What is answered to somebody who asks to go on from a version that is compacted away."""
    return status(410, "Expired", "too old resource version: 1 (2)")


def expired_in_the_stream() -> Answer:
    """The same as a watch hears it: 200, and the refusal as an event."""
    event = {"type": "ERROR", "object": json.loads(expired().body)}
    return Answer(200, json.dumps(event).encode() + b"\n")
