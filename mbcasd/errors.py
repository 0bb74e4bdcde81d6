"""Every error that MBCAS raises on purpose.

    MbcasError
      BrokenInput        refused at the edge, exit code 2: names the field, the value and the remedy
        ConfigError        a setting, a flag, an environment variable
        BadProblem         a market that cannot be solved as it was stated
        NoSuchWorkload     a name that no workload here has
      ExpectedTrouble    the pass is skipped and counted, the last good decision stays, exit code 1 at start
        SensingError       a kernel file is not as expected
        CgroupGone         the cgroup vanished
        ActuationError     a limit could not be written or read back
        RecordError        the record cannot be opened or read
        ServingError       an address or a socket cannot be served
        SourceError        no daemon answers, or not with what was asked for
        InstallError       a cluster is not fit for what was asked, or somebody may still work against it
        ApiError           Kubernetes
          ApiAway            no answer: refused, timed out, broken off; nothing is known of what became of it
          ApiRefused         an answer with code 400 or above

Anything else is a bug: no loop catches it, the role logs it, restores the owner's limits and exits.
"""


class MbcasError(Exception):
    """The root of all errors that MBCAS raises on purpose."""


class BrokenInput(MbcasError):
    """What a person gave is wrong; the message names the field, the value and the remedy."""


class ConfigError(BrokenInput):
    """A setting, a flag or an environment variable is wrong."""


class BadProblem(BrokenInput):
    """A market cannot be solved as it was stated."""


class NoSuchWorkload(BrokenInput):
    """Somebody names a workload that does not exist here, or that is not managed."""


class ExpectedTrouble(MbcasError):
    """The outside world did what it sometimes does; the next pass tries again."""


class SensingError(ExpectedTrouble):
    """A kernel file could not be read or is not in the expected form."""


class CgroupGone(SensingError):
    """The cgroup behind an open handle or a path does not exist any more."""


class ActuationError(ExpectedTrouble):
    """A limit could not be written, or did not read back as written."""


class RecordError(ExpectedTrouble):
    """The record cannot be opened, read or written."""


class ServingError(ExpectedTrouble):
    """An address or a socket cannot be served; somebody else may hold it."""


class SourceError(ExpectedTrouble):
    """No daemon answers where one was expected, or it answers something else."""


class InstallError(ExpectedTrouble):
    """A cluster is not fit to install, change or remove MBCAS on, or to restore limits; the message has the remedy."""


class ApiError(ExpectedTrouble):
    """The Kubernetes API did not do what it was asked."""


class ApiAway(ApiError):
    """No answer from the API server: refused, timed out or broken off; a write may or may not have happened."""


class ApiRefused(ApiError):
    """The API server answered with code 400 or above.

    Attributes:
        code: The HTTP status.
        reason: `reason` of the Status object: "Conflict", "Invalid", "Forbidden", …; empty where there is none.
        message: Its message.
        causes: Its details' causes as (reason, field, message).
        retry_after_s: What the answer asked to wait; None: nothing.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        causes: tuple[tuple[str, str, str], ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message or f"HTTP {code}")
        self.code, self.reason, self.message = code, reason, message
        self.causes, self.retry_after_s = causes, retry_after_s
