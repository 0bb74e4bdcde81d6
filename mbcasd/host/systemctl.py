"""How systemd is told a quota, and where it keeps what it was told at run time.

`systemctl set-property --runtime` writes a drop-in below /run, which a reboot removes, and the unit's cgroup.
systemd keeps whole percents (10m) in its drop-in and has no burst.
"""

import contextlib
import math
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from mbcasd.errors import ActuationError
from mbcasd.host.held import Held
from mbcasd.model.readings import LimitReading

MILLI_PER_PERCENT = 10

# Units that have a cgroup of their own (man 5 systemd.resource-control).
_UNIT_SUFFIXES = (".slice", ".service", ".scope", ".socket", ".mount", ".swap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Systemd:
    """How to reach systemd and where it keeps what it was told at run time."""

    systemctl: str = "systemctl"
    control_dir: Path = Path("/run/systemd/system.control")
    transient_dir: Path = Path("/run/systemd/transient")
    timeout_s: float = 10.0  # for one call; D-Bus itself gives up after 25 s
    read_back_s: float = 1.0  # how long the cgroup may take to follow

    def drop_in(self, unit: str) -> Path:
        """The file that `set-property --runtime` writes; for a transient unit it lies beside the unit itself."""
        directory = self.transient_dir if (self.transient_dir / unit).exists() else self.control_dir
        return directory / f"{unit}.d" / "50-CPUQuota.conf"

    def drop_in_text(self, unit: str) -> str | None:
        """What the owner has set at run time already; None: nothing."""
        try:
            return self.drop_in(unit).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def set_quota(self, unit: str, assignment: str) -> None:
        """Run `systemctl set-property`.

        Raises:
            ActuationError: It could not be run, refused, or did not answer in time.
        """
        self._run(set_property_arguments(unit, assignment))

    def reload(self) -> None:
        """Let systemd read its files again.

        Raises:
            ActuationError: As for `set_quota`.
        """
        self._run(("daemon-reload",))

    def _run(self, arguments: tuple[str, ...]) -> None:
        words = f"{self.systemctl} {' '.join(arguments)}"
        try:
            done = subprocess.run(
                (self.systemctl, *arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout_s,
                check=False,
                env={**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": ""},
            )
        except subprocess.TimeoutExpired as err:
            raise ActuationError(f"`{words}` did not answer within {self.timeout_s:g} s") from err
        except OSError as err:
            raise ActuationError(f"cannot run `{words}`: {(err.strerror or str(err)).lower()}") from err
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
            remedy = "; run as root" if "access denied" in said.lower() or "authentication" in said.lower() else ""
            raise ActuationError(f"`{words}` failed: {said}{remedy}")


def detect() -> Systemd | None:
    """systemd, if it is what booted this host (man 3 sd_booted); else None."""
    return Systemd() if Path("/run/systemd/system").is_dir() else None


def unit_of(path: str) -> str | None:
    """The unit whose own cgroup this is; None where systemd's manager of the host does not own it.

    Only slices lie above a unit of the host's manager; what lies below a service or a scope is delegated, as is
    everything of a user's manager below `user@1000.service`.
    """
    *above, name = path.strip("/").split("/")
    if not name.endswith(_UNIT_SUFFIXES) or not all(part.endswith(".slice") for part in above):
        return None
    # systemd puts an underscore in front of a name that would clash with a file of the kernel's.
    return name.removeprefix("_")


def percent_of(limit_milli: float) -> int:
    """Whole percents of a CPU, not more than `limit_milli`, at least 1 (10m)."""
    return max(1, math.floor(limit_milli / MILLI_PER_PERCENT + 1e-9))


def resize_assignment(to_milli: float | None) -> str:
    """The property that sets a limit of ours."""
    return "CPUQuota=" if to_milli is None else f"CPUQuota={percent_of(to_milli)}%"


def owner_assignment(owner: LimitReading) -> str:
    """The property that sets the owner's limit, in hundredths of a percent where it is no whole one."""
    if owner.limit_milli is None:
        return "CPUQuota="
    percent = round(owner.limit_milli / MILLI_PER_PERCENT, 2)
    return f"CPUQuota={percent:.0f}%" if percent == int(percent) else f"CPUQuota={percent:.2f}%"


def set_property_arguments(unit: str, assignment: str) -> tuple[str, ...]:
    """What to hand to systemctl; a unit's name may begin with a dash (`-.slice`)."""
    return ("set-property", "--runtime", "--no-ask-password", "--", unit, assignment)


def says_ours(text: str | None, held: Held) -> bool:
    """Whether a drop-in states the limit that we set last, and nobody has written it since."""
    limit_milli = replace(held.owner, quota_usec=held.after.quota_usec).limit_milli
    return text is not None and resize_assignment(limit_milli) in text.splitlines()


def put_drop_in_back(systemd: Systemd, held: Held) -> bool:
    """Give the unit the runtime drop-in back that its owner had, or none; whether a file was changed.

    Raises:
        ActuationError: The file cannot be written.
    """
    path = systemd.drop_in(held.unit or "")
    try:
        if held.drop_in is None:
            path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # only if nothing else is in it
        elif systemd.drop_in_text(held.unit or "") != held.drop_in:
            path.write_text(held.drop_in, encoding="utf-8")
        else:
            return False
    except FileNotFoundError:
        return False
    except OSError as err:
        raise ActuationError(f"cannot restore {path}: {(err.strerror or str(err)).lower()}") from err
    return True
