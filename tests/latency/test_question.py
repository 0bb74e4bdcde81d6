import json

import pytest
from fakes.metric_server import vector
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.latency.question import Result, read_answer, render, target
from mbcasd.model.identity import WorkloadId

NOW_S = 1_700_000_000.0
WEB = WorkloadId("shop", "web-1", "app")


def answer(body: str | bytes, status: int = 200):
    raw = body.encode() if isinstance(body, str) else body
    return read_answer(status, raw, wall_s=NOW_S, staleness_s=60.0)


def test_placeholders_become_the_workloads_names() -> None:
    template = 'rate(x{ns="{{namespace}}",pod="{{pod}}",c="{{ container }}",w="{{workload}}"}[1m])'

    assert render(template, WEB) == 'rate(x{ns="shop",pod="web-1",c="app",w="shop/web-1:app"}[1m])'


def test_a_template_without_placeholders_is_taken_as_it_is() -> None:
    assert render('up{job="a"}', WEB) == 'up{job="a"}'


@pytest.mark.parametrize("quote", ['"', "'", "`"])
def test_a_name_cannot_end_the_quotes_that_it_stands_in(quote: str) -> None:
    rendered = render(f"x{{pod={quote}{{{{pod}}}}{quote}}}", WorkloadId("n", f'a{quote}}} or vector(0) #\\\n"'))

    assert rendered.count(quote) == 2
    assert "\n" not in rendered
    assert "}} or" not in rendered


@given(st.text())
def test_whatever_a_name_is_the_question_stays_one_line_of_ascii(name: str) -> None:
    rendered = render("{{pod}}", WorkloadId("n", name))

    assert rendered.isascii()
    assert not set(rendered) & set("\"'`{}\n\r()")
    # Only those backslashes that begin an escape.
    assert rendered.replace("\\x", "").count("\\") == 0
    assert target(rendered).isascii()


def test_a_query_survives_the_way_into_a_url() -> None:
    assert target('a{b="c d&+"}') == "/api/v1/query?query=a%7Bb%3D%22c%20d%26%2B%22%7D"


def test_one_number_is_an_answer() -> None:
    assert answer(vector(0.132, at_s=NOW_S)) == (Result.OK, 0.132, "")
    assert answer(vector("1.5e-3", at_s=NOW_S - 30)).p99_s == 0.0015


def test_a_scalar_is_one_number_too() -> None:
    body = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [NOW_S, "0.25"]}})

    assert answer(body).p99_s == 0.25


def api_error(message: str) -> str:
    return json.dumps({"status": "error", "errorType": "bad_data", "error": message})


def matrix() -> str:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}})


@pytest.mark.parametrize(
    ("body", "status", "result", "words"),
    [
        (vector(at_s=NOW_S), 200, Result.EMPTY, "no series"),
        (vector(1, 2, 3, at_s=NOW_S), 200, Result.MANY, "3 series"),
        (vector("NaN", at_s=NOW_S), 200, Result.NAN, "NaN"),
        (vector("+Inf", at_s=NOW_S), 200, Result.INVALID, "inf"),
        (vector("-Inf", at_s=NOW_S), 200, Result.INVALID, "inf"),
        (vector(-0.1, at_s=NOW_S), 200, Result.INVALID, "-0.1"),
        (vector(132_000, at_s=NOW_S), 200, Result.INVALID, "no latency in seconds"),
        (vector(0.1, at_s=NOW_S - 61), 200, Result.STALE, "61 s old"),
        (vector(0.1, at_s=NOW_S + 90), 200, Result.STALE, "90 s in the future"),
        (api_error("parse error: unexpected <eof>"), 400, Result.REFUSED, "parse error"),
        (api_error("found duplicate series"), 422, Result.REFUSED, "duplicate"),
        (matrix(), 200, Result.REFUSED, "matrix"),
        (api_error("query timed out"), 503, Result.ERROR, "HTTP 503: query timed out"),
        (api_error("\x1b[2Jevil"), 500, Result.ERROR, "evil"),
        ("<html>404</html>", 404, Result.ERROR, "HTTP 404"),
        ("<html>hello</html>", 200, Result.MALFORMED, "not that of a Prometheus"),
        ("", 200, Result.MALFORMED, "not that"),
        ("[]", 200, Result.MALFORMED, "not that"),
        ('{"status": "success"}', 200, Result.ERROR, "no reason given"),
        (vector("a lot", at_s=NOW_S), 200, Result.MALFORMED, "not that"),
        (vector(0.1).replace('"value"', '"histogram"'), 200, Result.MALFORMED, "not that"),
        (b"\xff\xfe", 200, Result.MALFORMED, "not that"),
    ],
)
def test_anything_else_is_none_and_says_why(body, status, result, words) -> None:
    found = answer(body, status)

    assert found.result is result
    assert found.p99_s is None
    assert words in found.words
    assert found.words.isprintable()


@given(st.binary(max_size=300), st.integers(200, 599))
def test_no_answer_whatsoever_breaks_anything(body: bytes, status: int) -> None:
    assert answer(body, status).p99_s is None
