"""Bytes from a terminal to names of keys; pure, and indifferent to where a read was cut."""

import codecs

# What xterm, the Linux console, screen and tmux send; application mode (ESC O) and normal mode (ESC [).
_SEQUENCES = {
    "[A": "up",
    "[B": "down",
    "[C": "right",
    "[D": "left",
    "OA": "up",
    "OB": "down",
    "OC": "right",
    "OD": "left",
    "[5~": "page-up",
    "[6~": "page-down",
    "[H": "home",
    "[F": "end",
    "OH": "home",
    "OF": "end",
    "[1~": "home",
    "[4~": "end",
    "[7~": "home",
    "[8~": "end",
    "OM": "enter",
}
_CONTROLS = {
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x15": "clear-line",
    "\x04": "page-down",
    "\x06": "page-down",
    "\x02": "page-up",
    "\x0e": "down",
    "\x10": "up",
    "\x0c": "redraw",
}
_ESC = "\x1b"


class KeyDecoder:
    """Collects bytes and gives keys. An escape byte alone is only a key once nothing follows: see `flush`."""

    def __init__(self) -> None:
        self._text = ""
        # A terminal may send anything; what is no UTF-8 becomes a sign that is no key.
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def waits(self) -> bool:
        """Whether something was read that may be the beginning of a longer sequence."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete with `data`; unknown sequences are swallowed whole."""
        self._text += self._utf8.decode(data)
        keys = []
        while self._text:
            length, key = _first(self._text)
            if length == 0:
                break
            self._text = self._text[length:]
            if key:
                keys.append(key)
        return keys

    def flush(self) -> list[str]:
        """Nothing followed: what looked like the beginning of a sequence was the escape key."""
        began, self._text = self._text, ""
        return ["escape"] if began else []


def _first(text: str) -> tuple[int, str]:
    """How long the first key is, and its name; length 0: more has to come; no name: not a key of ours."""
    if text[0] != _ESC:
        key = _CONTROLS.get(text[0], text[0])
        return 1, key if len(key) > 1 or key.isprintable() else ""
    match text[1:2]:
        case "":
            return 0, ""
        case "[" | "O":
            return _sequence(text)
        case _:
            return 1, "escape"  # and what follows is the next key: nothing here is reached with Alt


def _sequence(text: str) -> tuple[int, str]:
    """The same for what begins with ESC [ or ESC O.

    A control sequence ends with a byte from @ to ~ (ECMA-48, 5.4); ESC O takes exactly one more.
    """
    for at in range(2, len(text)):
        if text[1] == "O" or "@" <= text[at] <= "~":
            return at + 1, _SEQUENCES.get(text[1 : at + 1], "")
        if not " " <= text[at] <= "?":
            return at, ""  # broken off: the next one begins here
    return 0, ""
