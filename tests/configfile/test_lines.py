import tomllib

from hypothesis import given
from hypothesis import strategies as st

from mbcasd.configfile.lines import key_lines, line_of

TEXT = '''\
flat = 1
a.b = 2  # dotted

[market]  # [not.this]
overcommit = 2
text = """
[loops]
x = 1
"""
list = [
  "]", # ]
  [1, 2],
]
"quoted" = 'x = [ # "'
inline = { up = 1, down = [2] }

[[workload]]
match = "a"
[[workload]]
match = "b"
[ resize . deep ]
y = 1
'''


def test_keys_are_found_on_their_lines_whatever_stands_around_them():
    assert key_lines(TEXT) == {
        ("flat",): 1,
        ("a", "b"): 2,
        ("market",): 4,
        ("market", "overcommit"): 5,
        ("market", "text"): 6,
        ("market", "list"): 10,
        ("market", "quoted"): 14,
        ("market", "inline"): 15,
        ("workload", 0): 17,
        ("workload", 0, "match"): 18,
        ("workload", 1): 19,
        ("workload", 1, "match"): 20,
        ("resize", "deep"): 21,
        ("resize", "deep", "y"): 22,
    }


def test_a_key_of_an_inline_table_is_on_the_line_of_the_table():
    found = key_lines(TEXT)

    assert line_of(("market", "inline", "up"), found) == 15
    assert line_of(("nowhere", "at", "all"), found) is None


@given(st.text(alphabet="ab=.[]{}\"'#\n\\ 1,", max_size=60))
def test_every_key_of_valid_toml_has_a_line_inside_the_text(text):
    try:
        document = tomllib.loads(text)
    except ValueError:
        document = {}
    found = key_lines(text)

    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
    assert all(any(path[0] == name for path in found) for name in document if name and "\\" not in name)
