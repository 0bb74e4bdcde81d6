import json
import subprocess
import sys
import zlib

import pytest
from golden import check_golden
from rigs.recording import a_record, forge

from mbcasctl.views import verification
from mbcasd.accounting.audit import Audit, FailedReceipt


def verify(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mbcasctl", "verify", *map(str, arguments)], check=False, capture_output=True, text=True
    )


def drawn(audit, *, wide=False):
    from rich.console import Console

    console = Console(width=100, highlight=False)
    with console.capture() as capture:
        console.print(verification.as_table(audit, wide=wide))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def an_audit(**more):
    values = {
        "record": "/var/lib/mbcas/record.db",
        "node": "node-1",
        "runs": 2,
        "receipts": 1234,
        "dropped": 0,
        "first_wall_s": None,
        "last_wall_s": None,
        "failed": (),
        "chain_problems": (),
    }
    return Audit(**{**values, **more})


def test_a_record_that_holds_is_said_to_and_exits_with_zero(tmp_path):
    a_record(tmp_path / "record.db", count=3)

    done = verify("--record", tmp_path / "record.db")

    assert (done.returncode, done.stderr) == (0, "")
    assert "3 of 3 receipts hold" in done.stdout
    assert "the chain is whole" in done.stdout


def test_a_forged_record_is_not_verified(tmp_path):
    path = tmp_path / "record.db"
    a_record(path, count=3)
    forge(path, "UPDATE receipts SET body = ? WHERE number = 2", zlib.compress(b"{}"))

    done = verify("--record", path, "-o", "json")

    assert done.returncode == 3
    data = json.loads(done.stdout)
    assert (data["holds"], data["receipts"], data["verified"]) == (False, 3, 2)
    assert [failed["number"] for failed in data["failed"]] == [2]
    assert data["chain"] == {"holds": False, "problems": ["number 2 was altered after it had been written"]}


def test_a_record_without_receipts_says_so(tmp_path):
    a_record(tmp_path / "record.db", count=0)

    done = verify("--record", tmp_path / "record.db")

    assert done.returncode == 0
    assert "no receipts yet" in done.stdout


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no record at"),
        (lambda path: path.write_text("notes"), "is not a record of mbcasd"),
        (lambda path: path.mkdir(), "is a directory"),
    ],
)
def test_what_is_no_record_is_wrong_input(tmp_path, make, message):
    make(tmp_path / "record.db")

    done = verify("--record", tmp_path / "record.db")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_a_damaged_record_is_an_error_with_a_remedy(tmp_path):
    path = tmp_path / "record.db"
    a_record(path, count=30)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))

    done = verify("--record", path)

    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_screen_when_all_is_well():
    check_golden("verify_holds.txt", drawn(an_audit(dropped=17)))


def test_the_screen_when_something_does_not_hold():
    failed = tuple(
        FailedReceipt(
            number=n,
            receipt_id="8f31c2aa00112233",
            decided_wall_s=float("inf"),
            problems=("the price is 0.25 in the receipt and 0.005 computed again", "evil \x1b[31m name"),
        )
        for n in range(1, 23)
    )
    audit = an_audit(failed=failed, chain_problems=("number 4 was altered after it had been written",))

    text = drawn(audit)

    assert "\x1b" not in drawn(audit, wide=True)
    assert len(drawn(audit, wide=True).splitlines()) > len(text.splitlines())
    check_golden("verify_fails.txt", text)
