"""The instruments of prometheus_client, without the rest of it. Only this module imports that package."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["CollectorRegistry", "Counter", "Gauge", "Histogram", "Metric", "ProcessCollector"]

_PACKAGE = "prometheus_client"


@contextmanager
def _without_its_servers() -> Iterator[None]:
    """Let modules of prometheus_client be imported without its `__init__`.

    That file imports an HTTP server, TLS, urllib and wsgiref: 8.4 MB of the 24.6 MB that a daemon with all its
    libraries had, measured on Python 3.11. An empty package of the same name stands in for it meanwhile, and is
    taken away again, so that whoever imports the package later gets all of it.
    """
    if _PACKAGE in sys.modules:
        yield
        return
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None  # noqa: S101 - a dependency of this project
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[_PACKAGE]


with _without_its_servers():
    from prometheus_client.metrics import Counter, Gauge, Histogram
    from prometheus_client.metrics_core import Metric
    from prometheus_client.process_collector import ProcessCollector
    from prometheus_client.registry import CollectorRegistry
