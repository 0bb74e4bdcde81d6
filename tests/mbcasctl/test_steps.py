"""What a long command says meanwhile: on a terminal, and in a log."""

import os
import pty
import subprocess
import sys
import textwrap

PROGRAM = textwrap.dedent("""
    import time
    from mbcasctl.terminal.steps import Steps
    steps = Steps()
    steps.title("Doing it")
    with steps.waiting() as waiting:
        for at in range(25):
            waiting.show(f"{at // 24} of 1 done", [] if at < 5 else ["a reason that is so long that it does not " * 3])
            time.sleep(0.1)
    steps.done("one \\x1b[2J thing is done")
    steps.failed("and another is not, for a reason that is so long that it has to go on in the next line")
""")


def in_a_log(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""  # that is for data
    return done.stderr


def on_a_terminal(program: str) -> str:
    ours, theirs = pty.openpty()
    environ = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color", "COLUMNS": "60"}
    with subprocess.Popen([sys.executable, "-c", program], stderr=theirs, env=environ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # EIO: the other end is closed
                break
            written += piece
        process.wait(60)
    os.close(ours)
    return written.decode()


def test_a_log_gets_a_line_when_something_changes_and_not_more_often() -> None:
    lines = in_a_log(PROGRAM).splitlines()

    assert lines[0] == "Doing it"
    assert lines[1:3] == ["  … 0 of 1 done", "  ! " + ("a reason that is so long that it does not " * 3)]
    assert lines[-2] == "  ✓ one � thing is done".replace("� thing", "�[2J thing")
    assert lines[-1].startswith("  ✗ and another is not")
    assert len(lines) <= 6


def test_a_terminal_gets_a_picture_that_moves_and_is_gone_in_the_end() -> None:
    written = on_a_terminal(PROGRAM)

    assert "⠋" in written
    assert "\x1b[2K" in written  # drawn over, not scrolled
    last = written[written.rindex("one") :]
    assert "it\x1b[0m\r\n    has to go on in the next line" in last
    assert "of 1 done" not in last
