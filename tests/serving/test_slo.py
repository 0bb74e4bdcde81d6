import pytest

from mbcasd.errors import BrokenInput
from mbcasd.model.slo import SloReport
from mbcasd.serving.slo import parse_slo


@pytest.mark.parametrize(
    ("body", "report"),
    [
        (b'{"workload": "shop/web", "p99_ms": 120}', SloReport(workload="shop/web", p99_s=0.12)),
        (b'{"workload": "shop/web", "p99_ms": 0.0}', SloReport(workload="shop/web", p99_s=0.0)),
        (b'{"workload": "shop/web", "violated": false}', SloReport(workload="shop/web", violated=False)),
    ],
)
def test_an_application_says_its_latency_or_whether_it_is_too_slow(body, report):
    assert parse_slo(body) == report


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "send"),
        (b"[1]", "object"),
        (b'{"workload": "w", "p99_ms": NaN}', "send"),
        (b'{"workload": "w", "p99_ms": -1}', "p99_ms -1 must be a number"),
        (b'{"workload": "w", "p99_ms": 1e999}', "p99_ms"),
        (b'{"workload": "w", "p99_ms": 1e9}', "p99_ms 1e\\+09 must be"),
        (b'{"workload": "w", "p99_ms": "12"}', r"\$\.p99_ms"),
        (b'{"workload": "w", "p99ms": 12}', "unknown field `p99ms`"),
        (b'{"workload": "w"}', "either p99_ms or violated"),
        (b'{"workload": "w", "p99_ms": 1, "violated": true}', "either p99_ms or violated"),
        (b'{"p99_ms": 1}', "workload"),
        (b'{"workload": "", "p99_ms": 1}', "1 to 512"),
        (b'{"workload": "' + b"w" * 600 + b'", "p99_ms": 1}', "1 to 512"),
        (b'{"workload": "\xff", "p99_ms": 1}', "send"),
    ],
)
def test_anything_else_is_refused_with_a_reason(body, message):
    with pytest.raises(BrokenInput, match=message):
        parse_slo(body)
