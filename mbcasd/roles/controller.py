"""`mbcasd controller`: the cluster's resize controller. Who is wired to whom."""

import argparse
from collections.abc import Mapping


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run until a signal ends it."""
    raise NotImplementedError
