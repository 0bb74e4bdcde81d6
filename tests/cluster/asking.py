"""Asks an API server directly: for tests that look at it without our own client."""

import http.client
import json
import ssl
from collections import deque
from typing import Any
from urllib.parse import urlsplit

JSON = "application/json"
_TIMEOUT_S = 30


class Asker:
    """Connections to one API server, for any thread; they are kept, since tests poll."""

    def __init__(self, server: str, ca_file: str) -> None:
        self._parts = urlsplit(server)
        self._trust = ssl.create_default_context(cafile=ca_file)
        self._idle: deque[http.client.HTTPSConnection] = deque()

    def ask(self, method: str, path: str, body: object, content_type: str, token: str) -> tuple[int, Any]:
        """The status code, and the answer: parsed if it is JSON, else text."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
        data = None if body is None else json.dumps(body)
        while True:
            connection, is_used = self._connection()
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                text = answer.read().decode()
            except BaseException as err:
                connection.close()
                # The server has been restarted since: a kept connection says nothing about the new one.
                if is_used and isinstance(err, (http.client.HTTPException, ConnectionError, ssl.SSLError)):
                    continue
                raise
            self._idle.append(connection)
            is_json = answer.getheader("Content-Type", "").startswith(JSON)
            return answer.status, json.loads(text) if is_json else text

    def _connection(self) -> tuple[http.client.HTTPSConnection, bool]:
        try:
            return self._idle.pop(), True
        except IndexError:
            host = self._parts.hostname or ""
            return http.client.HTTPSConnection(host, self._parts.port, timeout=_TIMEOUT_S, context=self._trust), False

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
