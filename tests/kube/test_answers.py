import errno
import http.client
import socket
import ssl

import pytest
from urllib3 import exceptions

from mbcasd.errors import ApiAway
from mbcasd.kube import answers
from mbcasd.kube.answers import BrokenOff


def told(err):
    with pytest.raises(ApiAway) as caught, answers.translated():
        raise err
    return caught.value


@pytest.mark.parametrize(
    ("err", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "connection reset"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to host"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "network unreachable"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (TimeoutError("timed out"), "no answer in time"),
        (exceptions.ReadTimeoutError(None, "/", "Read timed out."), "no answer in time"),
        (exceptions.ConnectTimeoutError(None, "timed out"), "no connection in time"),
        (exceptions.NameResolutionError("h", None, socket.gaierror(-2, "unknown")), "its name is not known to DNS"),
        (http.client.RemoteDisconnected("closed"), "connection closed by the other end"),
        (http.client.IncompleteRead(b""), "connection closed by the other end"),
        (http.client.BadStatusLine("SSH-2.0"), "ssh-2.0"),
        (ssl.SSLEOFError(8, "EOF occurred"), "connection closed by the other end"),
    ],
)
def test_every_way_of_getting_no_answer_has_a_few_plain_words(err, words):
    assert str(told(err)) == f"API server not reachable ({words})"


def test_the_innermost_reason_is_told_however_deep_it_lies():
    reset = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    err = told(exceptions.ProtocolError("Connection aborted.", reset))
    assert str(err) == "API server not reachable (connection reset)"
    assert isinstance(err, BrokenOff)


def test_only_what_ended_before_an_answer_counts_as_broken_off():
    assert isinstance(told(exceptions.ProtocolError("x", http.client.RemoteDisconnected("y"))), BrokenOff)
    assert not isinstance(told(exceptions.ReadTimeoutError(None, "/", "x")), BrokenOff)


def test_bugs_are_not_taken_for_a_server_that_is_away():
    with pytest.raises(ZeroDivisionError), answers.translated():
        raise ZeroDivisionError


def test_what_was_told_already_is_not_told_again():
    with pytest.raises(ApiAway, match=r"^as it was$"), answers.translated():
        raise ApiAway("as it was")
