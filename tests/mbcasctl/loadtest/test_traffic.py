"""The open loop, against a server that does what servers do when they suffer."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time

import pytest

from mbcasctl.loadtest import wire
from mbcasctl.loadtest.traffic import Job, send


class Server:
    """Notes when requests come and answers none before it is released."""

    def __init__(self, *, answer: bytes = wire.answer("200 OK", "ok\n"), hangs_up: bool = False) -> None:
        self.came_s: list[float] = []
        self.open = asyncio.Event()
        self._answer, self._hangs_up = answer, hangs_up

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while await wire.read_head(reader) is not None:
                self.came_s.append(time.monotonic())
                await self.open.wait()
                writer.write(self._answer)
                if self._hangs_up:
                    return

    def stop(self) -> None:
        self._server.close()


def sent_to(server, offsets_s, *, drain_s=30.0, before_release=None, at_most=100):
    """Send a job to a server that is released at once, or when `before_release` has come true."""

    async def run():
        port = await server.start()
        job = Job(port=port, start_at_s=time.monotonic() + 0.01, offsets_s=tuple(offsets_s), drain_s=drain_s)
        sending = asyncio.create_task(send(job, at_most=at_most))
        if before_release is None:
            server.open.set()
        else:
            while not before_release() and not sending.done():  # noqa: ASYNC110 - any fact, not only an event
                await asyncio.sleep(0.001)
            server.open.set()
        try:
            return job, await sending
        finally:
            server.stop()

    return asyncio.run(run())


def test_a_stalled_server_does_not_slow_the_generator_down():
    server = Server()
    offsets_s = [n * 0.005 for n in range(40)]

    # The server answers nothing until all 40 requests are there.
    _, sent = sent_to(server, offsets_s, before_release=lambda: len(server.came_s) == 40)

    assert len(server.came_s) == 40
    assert None not in sent.waits_s
    # The first was sent 0.195 s before the last and waited all that time.
    assert sent.waits_s[0] >= 0.195


def test_a_wait_counts_from_the_moment_at_which_the_request_was_meant_to_be_sent():
    server = Server()
    # One connection only: each request has to wait for the one before it, and nothing may hide that.
    _, sent = sent_to(
        server,
        [0, 0.001, 0.002],
        before_release=lambda: time.monotonic() > server.came_s[0] + 0.1 if server.came_s else False,
        at_most=1,
    )

    assert all(wait_s > 0.09 for wait_s in sent.waits_s)


def test_requests_without_an_answer_are_given_up_at_the_end_and_reported():
    server = Server()
    job, sent = sent_to(server, [0, 0.01], drain_s=0.05, before_release=lambda: False)

    assert sent.waits_s == [None, None]
    assert sent.ended_at_s >= job.start_at_s + 0.01 + 0.05


def test_the_parts_of_an_answer_are_kept_even_if_the_rest_never_comes():
    half = wire.CHUNKED_HEAD + wire.chunk("worker-a 0.031000\n")
    _, sent = sent_to(Server(answer=half, hangs_up=True), [0])

    assert sent.parts_s == {"worker-a": [0.031]}
    assert sent.waits_s == [None]


def test_a_part_that_failed_makes_the_request_unanswered():
    whole = wire.CHUNKED_HEAD + wire.chunk("a 0.5\n") + wire.chunk("b failed\n") + wire.LAST_CHUNK
    _, sent = sent_to(Server(answer=whole), [0], drain_s=5)

    assert sent.waits_s == [None]
    assert sent.parts_s == {"a": [0.5]}


@pytest.mark.parametrize(
    "answer",
    [
        wire.answer("500 Internal Server Error", "no\n"),
        b"garbage\r\n\r\n",
        wire.CHUNKED_HEAD + b"zz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100 + b"\r\n",
    ],
)
def test_whatever_is_no_good_answer_is_none(answer):
    _, sent = sent_to(Server(answer=answer), [0], drain_s=5)

    assert sent.waits_s == [None]


def test_a_server_that_is_not_there_is_no_reason_to_stop():
    async def run():
        return await send(Job(port=1, start_at_s=time.monotonic(), offsets_s=(0, 0.001), drain_s=5))

    assert asyncio.run(run()).waits_s == [None, None]


def test_nothing_to_send_is_done_at_once():
    _, sent = sent_to(Server(), [])

    assert (sent.waits_s, sent.late_s) == ([], [])


def test_the_generator_process_takes_jobs_line_by_line_and_ends_with_its_input():
    process = subprocess.Popen(
        [sys.executable, "-m", "mbcasctl.loadtest.traffic"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    job = json.dumps({"port": 1, "start_at_s": 0, "offsets_s": [0, 0], "drain_s": 5}).encode()
    for _ in range(2):
        process.stdin.write(job + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["waits_s"] == [None, None]
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()
