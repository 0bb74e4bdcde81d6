"""Whatever stands in a file, a variable or a flag: it is settings, or one clear refusal."""

from hypothesis import given
from hypothesis import strategies as st

from mbcasd import configfile
from mbcasd.configfile import reading, writing
from mbcasd.configfile.keys import KEYS, WORKLOAD_KEYS
from mbcasd.errors import ConfigError

WORDS = [word for key in (*KEYS, *WORKLOAD_KEYS) for word in (key.section, key.name)]
SCRAPS = [
    *WORDS,
    "[",
    "]",
    "[[",
    "]]",
    " = ",
    ": ",
    "\n",
    '"',
    "'",
    "{",
    "}",
    ",",
    "#",
    "nan",
    "inf",
    "-1",
    "1e400",
    "5m",
    "1.5",
]

some_text = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(SCRAPS), max_size=40).map("".join))
some_value = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=10**300, max_value=10**5000),
        st.floats(),
        some_text,
        st.dates(),
        st.text("0123456789", min_size=300, max_size=320).map(lambda digits: f"{digits}d{digits}d"),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=4,
)


def told(attempt) -> str:
    """The refusal, empty when it was accepted."""
    try:
        attempt()
    except ConfigError as err:
        return str(err)
    return ""


@given(some_text)
def test_any_text_has_entries_or_is_refused_in_one_line(text):
    message = told(lambda: reading.entries(text, "mbcasd.toml"))

    assert not message or (message.startswith("mbcasd.toml") and "\n" not in message)


@given(st.data())
def test_any_file_is_settings_or_refused_with_one_printable_line_per_problem(data):
    text = data.draw(some_text)
    import tempfile

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace", newline="") as file:
        file.write(text)
        file.flush()
        message = told(lambda: configfile.load(file.name, {}, {}))

    assert all(line.startswith(file.name) and line.isprintable() for line in message.splitlines())


@given(st.sampled_from(KEYS), some_value)
def test_any_value_of_any_key_is_accepted_or_refused(key, value):
    message = told(lambda: configfile.load(None, {}, {key.dotted: value}))

    assert message == "" or message.startswith(("flag", "default"))


@given(st.sampled_from(KEYS), st.text(max_size=40).filter(lambda text: "\0" not in text))
def test_any_variable_is_accepted_or_refused(key, value):
    message = told(lambda: configfile.load(None, {key.variable: value}, {}))

    assert all(line.isprintable() for line in message.splitlines())


@given(
    st.sampled_from(KEYS), st.one_of(st.floats(0, 100), st.sampled_from(["5s", "250m", "true", "h", "cea", "a,b=c"]))
)
def test_what_is_in_force_written_and_read_again_is_the_same(key, value):
    try:
        loaded = configfile.load(None, {key.variable: str(value)}, {})
    except ConfigError:
        return
    again = reading.entries(writing.text_in_force(loaded), "mbcasd.toml")

    by_name = {entry.name: entry.value for entry in again}
    shown = key.kind.show(key.of(loaded.settings))
    assert by_name.get(key.dotted) == shown
