import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbcasctl.terminal.keys import KeyDecoder


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"jk", ["j", "k"]),
        (b"\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        (b"\x1bOA\x1bOB", ["up", "down"]),
        (b"\x1b[5~\x1b[6~", ["page-up", "page-down"]),
        (b"\x1b[H\x1b[F\x1b[1~\x1b[4~\x1bOH\x1bOF", ["home", "end", "home", "end", "home", "end"]),
        (b"\r\n\x7f\x08\x15\x0c", ["enter", "enter", "backspace", "backspace", "clear-line", "redraw"]),
        ("ö世".encode(), ["ö", "世"]),
        (b"\x1bx", ["escape", "x"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
    ],
)
def test_what_terminals_send_becomes_keys(data: bytes, keys: list[str]) -> None:
    assert KeyDecoder().feed(data) == keys


@pytest.mark.parametrize(
    "data", [b"\x1b[15~", b"\x1b[1;5A", b"\x1b[?62;1;6c", b"\x1b[<0;10;10M", b"\x00\x01\x07", b"\xff"]
)
def test_what_is_not_ours_is_swallowed_whole(data: bytes) -> None:
    assert [key for key in KeyDecoder().feed(data + b"q") if key != "\ufffd"] == ["q"]


def test_an_escape_alone_is_a_key_once_nothing_follows() -> None:
    decoder = KeyDecoder()

    assert decoder.feed(b"\x1b") == []
    assert decoder.waits
    assert decoder.flush() == ["escape"]
    assert not decoder.waits
    assert decoder.flush() == []


@given(st.lists(st.sampled_from([b"q", b"\x1b[A", b"\x1b[5~", b"\x1bOB", "é".encode(), b"\r"])), st.data())
def test_it_does_not_matter_where_a_read_was_cut(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    cut = data.draw(st.integers(0, len(whole)))
    decoder = KeyDecoder()

    assert decoder.feed(whole[:cut]) + decoder.feed(whole[cut:]) == KeyDecoder().feed(whole)


@given(st.binary(max_size=40))
def test_no_noise_on_the_line_breaks_it(noise: bytes) -> None:
    decoder = KeyDecoder()

    decoder.feed(noise)
    decoder.flush()
    assert not decoder.waits
    assert decoder.feed(b"q")[-1:] == ["q"]
