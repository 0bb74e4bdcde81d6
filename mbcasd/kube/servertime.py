"""How far the API server's clock is from ours, for a person who asks; nothing that decides uses it."""

from email.utils import parsedate_to_datetime

from urllib3 import Timeout

from mbcasd.clock import Clock
from mbcasd.kube import answers
from mbcasd.kube.access import Access
from mbcasd.kube.transport import Transport

# The Date header has whole seconds.
RESOLUTION_S = 1.0
_TIMEOUT_S = 5.0


def clock_ahead_s(access: Access, clock: Clock) -> float | None:
    """Seconds by which the server's clock is ahead of this machine's; None: its answer has no date.

    Raises:
        ApiAway: It does not answer.
    """
    transport = Transport(access)
    try:
        asked_s = clock.wall_s()
        with answers.translated():
            answer = transport.pool().request(
                "GET", f"{transport.path_prefix}/version", retries=False, timeout=Timeout(_TIMEOUT_S)
            )
        heard_s = clock.wall_s()
    finally:
        transport.close()
    try:
        said_s = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return None
    return said_s + RESOLUTION_S / 2 - (asked_s + heard_s) / 2
