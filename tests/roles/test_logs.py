"""One line per event, for people or for machines."""

import json
import logging
import sys

from mbcasd.roles.logs import JsonFormatter


def a_record(**more: object) -> logging.LogRecord:
    return logging.LogRecord("mbcasd.test", logging.WARNING, "f.py", 1, "limit %s", ("200m",), **more)  # type: ignore[arg-type]


def test_a_json_line_has_time_level_logger_and_message() -> None:
    line = json.loads(JsonFormatter().format(a_record(exc_info=None)))

    assert {key: line[key] for key in ("level", "logger", "message")} == {
        "level": "warning",
        "logger": "mbcasd.test",
        "message": "limit 200m",
    }
    assert line["time"].endswith("Z")


def test_a_bug_brings_its_traceback_on_the_same_line() -> None:
    try:
        int("a bug")
    except ValueError:
        text = JsonFormatter().format(a_record(exc_info=sys.exc_info()))

    assert "\n" not in text
    assert "ValueError: invalid literal" in json.loads(text)["traceback"]
