"""Metric families as Prometheus text, format 0.0.4; pure.

prometheus_client has a renderer, but the module it lives in brings an HTTP server, TLS and urllib, 8 MB of a daemon
that is to stay under 40. A test holds this one against that one.
Source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format".
"""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol


class Sample(Protocol):
    """One value with its labels."""

    @property
    def name(self) -> str:
        """Of the series, suffixes included."""

    @property
    def labels(self) -> dict[str, str]:
        """By name."""

    @property
    def value(self) -> float:
        """Now."""


class Family(Protocol):
    """All series of one metric."""

    name: str
    documentation: str
    type: str

    @property
    def samples(self) -> Sequence[Sample]:
        """Of all series."""


def render(families: Iterable[Family]) -> bytes:
    """Write families as text.

    Series named `…_created` are left out: they tell OpenMetrics when a counter began, and double the number of
    series for a scraper that reads this format.
    """
    lines = []
    for family in families:
        shown = f"{family.name}_total" if family.type == "counter" else family.name
        lines.append(f"# HELP {shown} {_escape_help(family.documentation)}\n# TYPE {shown} {family.type}\n")
        created = f"{family.name}_created"
        lines += [
            f"{sample.name}{_labels(sample.labels)} {_number(sample.value)}\n"
            for sample in family.samples
            if sample.name != created
        ]
    return "".join(lines).encode()


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(labels.items())) + "}"


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
