"""How often the API server was asked to change something, as it counts itself in its metrics."""

import re
import time
from collections import Counter

from cluster.control_plane import ControlPlane

_WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}
# What control planes and kubelets do anyway, whether MBCAS is there or not, and a Lease that has to be renewed.
_ALWAYS = {"leases", "nodes/status", "events", "tokenreviews", "subjectaccessreviews"}


def writes(plane: ControlPlane) -> Counter[str]:
    """Requests that write, by resource and subresource, since the API server started."""
    counted: Counter[str] = Counter()
    for line in plane.get("/metrics").splitlines():
        if not line.startswith("apiserver_request_total{"):
            continue
        series, _, value = line.rpartition(" ")
        labels = dict(re.findall(r'(\w+)="([^"]*)"', series))
        if labels["verb"] in _WRITES:
            name = "/".join(filter(None, [labels["resource"], labels["subresource"]]))
            counted[name] += round(float(value))
    return counted


def wait_until_calm(plane: ControlPlane, quiet_s: float = 2.0, within_s: float = 600.0) -> None:
    """Wait until nothing has been written for so long."""
    ends_s = time.monotonic() + within_s
    while True:
        before = writes(plane)
        time.sleep(quiet_s)
        written = written_since(plane, before)
        if not written:
            return
        assert time.monotonic() < ends_s, f"written all the time: {written}"


def written_since(plane: ControlPlane, before: Counter[str]) -> dict[str, int]:
    """What was written since then, but for what is written always."""
    now = writes(plane)
    return {name: now[name] - before[name] for name in now if now[name] > before[name] and name not in _ALWAYS}
