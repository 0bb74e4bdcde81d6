"""A process that answers `/status` on a Unix socket with the pictures that stand in a file.

    python tests/fakes/fake_daemon.py SOCKET PICTURE

Reads PICTURE (JSON of a NodeSnapshot) at each request and moves it on in time, so that a test changes what a screen
shows by replacing the file, and sees that it lives by its clock.
"""

import json
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        picture = json.loads(Path(sys.argv[2]).read_text())
        ahead_s = time.time() - picture["taken_wall_s"]
        for place in (picture, *picture["workloads"]):
            moved = {key: at_s + ahead_s for key, at_s in place.items() if key.endswith("_wall_s") and at_s is not None}
            place.update(moved)
        body = json.dumps(picture).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a client"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    with socketserver.ThreadingUnixStreamServer(sys.argv[1], Answer) as server:
        server.serve_forever()
