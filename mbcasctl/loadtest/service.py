"""The service that the load test measures: it burns CPU time and says how long that took.

    python -m mbcasctl.loadtest.service ROLE [options]        or, from the single binary:
    mbcasctl loadtest serve ROLE [options]

One process per service. It joins its cgroup first, then listens on a free loopback port and prints
`ready PORT`. It ends when its standard input does, so it never outlives the test, however that ends.

Routes: `/work?n=NUMBER` (gateway, worker), `/metrics` (Prometheus), `/healthz`.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mbcasctl.loadtest import lifeline, wire
from mbcasctl.loadtest.burner import Burner
from mbcasctl.loadtest.workloads import Role

# From well under one burn to the longest wait that a static limit causes, around the 100 ms of the SLO.
_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)

# How long a noise burner wants the CPU before it pauses: short against a quota period of 100 ms.
_NOISE_BURST_S = 0.008

_UPSTREAM_CONNECTIONS = 1000


class Meters:
    """What the service tells Prometheus."""

    def __init__(self) -> None:
        """Use a registry of its own: the process's defaults are not the test's business."""
        self.registry = CollectorRegistry()
        self.latency = Histogram(
            "mbcas_eval_request_duration_seconds",
            "Time from a request's arrival to its answer.",
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "mbcas_eval_requests_in_flight", "Requests that are being worked on or wait.", registry=self.registry
        )
        self.burnt = Counter(
            "mbcas_eval_burnt_cpu_seconds", "CPU time burnt on purpose: the work done.", registry=self.registry
        )

    def render(self) -> str:
        """Write the text exposition format."""
        return generate_latest(self.registry).decode()


class Service:
    """Serves one role on loopback."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Size the burner and start no thread yet."""
        self._options = options
        self._role = Role(options.role)
        self._meters = Meters()
        self._burner = Burner()
        self._threads = ThreadPoolExecutor(options.threads, thread_name_prefix="burn")
        self._upstreams = {
            name: wire.Connections(port, at_most=_UPSTREAM_CONNECTIONS)
            for name, port in (upstream.split("=") for upstream in options.upstream)
            for port in (int(port),)
        }

    async def run(self) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._serve, wire.LOOPBACK, 0, backlog=1024)
        print(f"ready {server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - read by the rig
        if self._role is Role.NOISE:
            threading.Thread(target=self._make_noise, daemon=True).start()
        await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests, one after the other."""
        with contextlib.suppress(OSError, wire.WireError), contextlib.closing(writer):
            while (head := await wire.read_head(reader)) is not None:
                method, target, *_ = (*head.first.split(" "), "", "")
                url = urlsplit(target)
                if method != "GET":
                    writer.write(wire.answer("405 Method Not Allowed", "only GET is served\n"))
                elif url.path == "/work" and self._role is not Role.NOISE:
                    await self._work(parse_qs(url.query).get("n", [""])[0], writer)
                elif url.path == "/metrics":
                    writer.write(wire.answer("200 OK", self._meters.render(), content_type="text/plain; version=0.0.4"))
                elif url.path == "/healthz":
                    writer.write(wire.answer("200 OK", "ok\n"))
                else:
                    writer.write(wire.answer("404 Not Found", "there are /work?n=NUMBER, /metrics and /healthz\n"))
                await writer.drain()

    async def _work(self, number: str, writer: asyncio.StreamWriter) -> None:
        if not number.isdecimal():
            writer.write(wire.answer("400 Bad Request", "ask for /work?n=NUMBER\n"))
            return
        with self._meters.in_flight.track_inprogress(), self._meters.latency.time():
            if self._role is Role.GATEWAY:
                await self._route(int(number), writer)
            else:
                done_at_s = await self._burn(self._cost_s(int(number)))
                writer.write(wire.answer("200 OK", f"{done_at_s:.6f}\n"))

    async def _route(self, number: int, writer: asyncio.StreamWriter) -> None:
        """Ask all upstreams at once and pass on how long each took, as soon as it is known."""
        await self._burn(self._options.cpu_ms / 1000)
        writer.write(wire.CHUNKED_HEAD)
        for answered in asyncio.as_completed([self._ask(name, number) for name in self._upstreams]):
            writer.write(wire.chunk(await answered))
        writer.write(wire.LAST_CHUNK)

    async def _ask(self, name: str, number: int) -> str:
        """Ask one upstream; its own clock says when it was done, because all processes share the machine's.

        So the wait of a worker holds the time until a throttled worker reads the request, but not the time until a
        throttled gateway reads the answer.
        """
        sent_at_s = time.monotonic()
        try:
            body = "".join([part async for part in self._upstreams[name].ask(f"/work?n={number}")])
        except wire.WireError:
            return f"{name} failed\n"
        return f"{name} {max(0.0, float(body) - sent_at_s):.6f}\n"

    async def _burn(self, cpu_s: float) -> float:
        """Burn in a thread of its own; returns when that ended, on the machine's monotonic clock."""
        burnt_s, done_at_s = await asyncio.get_running_loop().run_in_executor(self._threads, self._burn_now, cpu_s)
        self._meters.burnt.inc(burnt_s)
        return done_at_s

    def _burn_now(self, cpu_s: float) -> tuple[float, float]:
        return self._burner.burn(cpu_s), time.monotonic()

    def _cost_s(self, number: int) -> float:
        options = self._options
        factor = options.spike_factor if is_spike(number, options.seed, options.spike_ratio) else 1.0
        return float(options.cpu_ms / 1000 * factor)

    def _make_noise(self) -> None:
        """Want one CPU for the given share of the time, for ever; what was not burnt in time is not made up for."""
        pause_s = _NOISE_BURST_S * (1 / self._options.intensity - 1)
        while True:
            self._meters.burnt.inc(self._burner.burn(_NOISE_BURST_S))
            time.sleep(pause_s)


def is_spike(number: int, seed: int, ratio: float) -> bool:
    """Whether a request is a spike: decided by its number, so that every regime meets the same ones."""
    mixed = (number * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ (mixed >> 31)) < ratio * 2**64


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line of a service; exits with 2 and a usage line if it is wrong."""
    parser = argparse.ArgumentParser(prog="mbcasctl loadtest serve", description="Serve one role of the load test.")
    parser.add_argument("role", choices=[role.value for role in Role])
    parser.add_argument("--join", action="append", default=[], metavar="FILE", help="cgroup.procs file to enter first")
    parser.add_argument("--cpus", default="", help="CPUs to run on, as 0,1; default all")
    parser.add_argument("--threads", type=_positive_int, default=2, help="requests worked on at the same time")
    parser.add_argument("--cpu-ms", type=_number, default=1.0, help="CPU time per request")
    parser.add_argument("--spike-ratio", type=_number, default=0.0, help="share of requests that are spikes")
    parser.add_argument("--spike-factor", type=_number, default=1.0, help="how many times as much a spike costs")
    parser.add_argument("--intensity", type=_share, default=0.8, help="noise: share of the time that it wants a CPU")
    parser.add_argument("--seed", type=int, default=1, help="which requests are spikes")
    parser.add_argument("--upstream", action="append", default=[], metavar="NAME=PORT", help="gateway: whom to ask")
    return parser.parse_args(arguments)


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} must be a number from 0 to 1e6")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} must be above 0 and at most 1")
    return value


def join(files: Sequence[str]) -> None:
    """Enter cgroups, before any thread exists that could be left behind."""
    for file in files:
        with open(file, "w", encoding="ascii") as procs:  # noqa: PTH123 - pathlib would double the start-up's imports
            procs.write(str(os.getpid()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one service until its standard input ends."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        join(options.join)
    except OSError as err:
        print(f"error: cannot enter the cgroup: {err}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    if options.cpus:
        os.sched_setaffinity(0, {int(cpu) for cpu in options.cpus.split(",")})
    lifeline.end_with_stdin()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Service(options).run())


if __name__ == "__main__":
    main()
