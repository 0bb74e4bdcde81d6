import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasd.kube.times import rfc3339_micro


@pytest.mark.parametrize(
    ("wall_s", "text"),
    [
        (1_700_000_000.0, "2023-11-14T22:13:20.000000Z"),
        (1_700_000_000.25, "2023-11-14T22:13:20.250000Z"),
        (0.000001, "1970-01-01T00:00:00.000001Z"),
    ],
)
def test_a_moment_is_written_with_all_its_microseconds(wall_s, text):
    assert rfc3339_micro(wall_s) == text


@given(st.floats(0, 4e9))
def test_the_form_is_always_the_same(wall_s):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", rfc3339_micro(wall_s))
