import math

import pytest

from mbcasctl import documents
from mbcasctl.documents import Form, form_by_content, parse
from mbcasd.errors import BadProblem


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('{"a": 1}', Form.JSON),
        ('\n  {"a": 1}', Form.JSON),
        ("a = 1", Form.TOML),
        ("# a: 1\na = 1", Form.TOML),
        ("[options]\nalpha = 2", Form.TOML),
        ("[[agents]]\nname = 'a'", Form.TOML),
        ("options.alpha = 2", Form.TOML),
        ('"capacity_milli" = 2', Form.TOML),
        ("a: 1", Form.YAML),
        ("# a = 1\na: 1", Form.YAML),
        ("---\na: 1", Form.YAML),
        ("- a", Form.YAML),
        ("# nothing", Form.YAML),
    ],
)
def test_the_first_line_that_says_something_tells_the_form(text, form):
    assert form_by_content(text) is form


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", '{"a": [1, 2.5, true]}'),
        ("p.yaml", "a: [1, 2.5, true]"),
        ("p.YML", "a:\n- 1\n- 2.5\n- true\n"),
        ("p.toml", "a = [1, 2.5, true]"),
        ("p", '{"a": [1, 2.5, true]}'),
        ("p.txt", "a = [1, 2.5, true]"),
    ],
)
def test_the_three_forms_give_the_same_data(tmp_path, name, text):
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())  # with the mark that some editors write

    assert documents.read(str(tmp_path / name)) == {"a": [1, 2.5, True]}


def test_yaml_takes_numbers_as_json_writes_them():
    assert parse("a: [1e3, 1.5e-3, -2E+2, 1_000]", Form.YAML, "x") == {"a": [1000, 0.0015, -200, 1000]}
    assert parse("a: [.inf]", Form.YAML, "x") == {"a": [math.inf]}


@pytest.mark.parametrize(
    ("form", "text", "says"),
    [
        (Form.JSON, "", "x: it is empty"),
        (Form.YAML, " \n", "x: it is empty"),
        (Form.JSON, '{"a": 1', r"x, line 1, column 8: not JSON: Expecting ',' delimiter"),
        (Form.JSON, '{"a": 1} true', r"x, line 1, column 10: not JSON: Extra data"),
        (Form.JSON, "{'a': 1}", "x, line 1, column 2: not JSON: Expecting property name"),
        (Form.JSON, '{"a": 1, "b": {"c": 1, "c": 2}}', 'x: the key "c" stands twice in one object'),
        (Form.JSON, '{"a": NaN}', "x: NaN is no number in JSON"),
        (Form.JSON, '{"a": -Infinity}', "x: -Infinity is no number in JSON"),
        (Form.JSON, '{"a": ' + "9" * 5000 + "}", "x: Exceeds the limit"),
        (Form.JSON, "[" * 100_000, "x: it is nested too deeply"),
        (Form.YAML, "a: [1", r"x, line \d, column \d: not YAML: "),
        (Form.YAML, "a: 1\nb: 2\na: 3", 'x, line 3, column 1: not YAML: the key "a" stands twice in one mapping'),
        (Form.YAML, "a: {b: 1, b: 2}", 'not YAML: the key "b" stands twice'),
        (Form.YAML, "a: 1\n--- \nb: 1", "not YAML: but found another document"),
        (
            Form.YAML,
            "a: !!python/object:os.system x",
            "x, line 1, column 4: not YAML: could not determine a constructor",
        ),
        (Form.YAML, "? [a]\n: 1", "not YAML: found unhashable key"),
        (Form.YAML, "a: *nowhere", "not YAML: found undefined alias"),
        (Form.YAML, "a: 2024-13-45", "x: not YAML: month must be in 1..12"),
        (Form.YAML, "\x00", "x: not YAML: "),
        (Form.TOML, "a = 1\na = 2", r"x: not TOML: Cannot overwrite a value"),
        (Form.TOML, "a = ", r"x: not TOML: Invalid value \(at "),
    ],
)
def test_what_could_be_misunderstood_is_refused_with_its_place(form, text, says):
    with pytest.raises(BadProblem, match=says):
        parse(text, form, "x")


def test_a_yaml_that_refers_to_itself_a_billion_times_stays_small():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join(f'*a{i - 1}' for _ in range(10))}]" for i in range(1, 10)]

    assert len(parse("\n".join(lines), Form.YAML, "x")) == 10


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, says in (
        (str(tmp_path / "missing.json"), "missing.json: there is no such file"),
        (str(tmp_path), "it is a directory"),
        (str(tmp_path / "binary"), r"it is not text in UTF-8 \(byte 0\)"),
        (str(tmp_path / "binary" / "x"), r"it cannot be read \(Not a directory\)"),
        ("a\0b", r"it cannot be read \(embedded null byte\)"),
    ):
        with pytest.raises(BadProblem, match=says):
            documents.read(path)
