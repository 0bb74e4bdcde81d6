"""What the API server's answer to a resize means: one table, from code, cause and message to an outcome.

Codes alone do not do: 403 is a quota, a LimitRange, a full node and a missing permission alike, 422 is a pod that
was made again, a node that cannot resize and a mistake of ours. So each row names what else tells it apart. The
texts are those of Kubernetes 1.35 to 1.37, captured from real servers; tests go through every one of them.
"""

import re
from enum import Enum
from typing import NamedTuple

from mbcasd.errors import ApiError, ApiRefused


class Outcome(Enum):
    """What became of one request for a resize; the value is the reason that status, events and metrics show."""

    ACCEPTED = "Accepted"  # it is in the pod's spec; the kubelet takes it from there
    DEFERRED = "Deferred"  # the kubelet has no room for the request yet, and tries again by itself
    INFEASIBLE = "Infeasible"  # this pod on this node never will; nothing helps but another decision
    CAPACITY = "NodeCapacity"  # the request is more than the node has for pods
    QUOTA = "QuotaExceeded"  # a ResourceQuota of the namespace is used up
    LIMIT_RANGE = "LimitRange"  # a LimitRange of the namespace does not allow it
    CONFLICT = "Stale"  # the pod has changed since it was looked at: look again
    GONE = "PodGone"  # there is no such pod any more
    RETRY = "ApiTrouble"  # the API server could not, this time
    FORBIDDEN = "Forbidden"  # permission, admission policy or webhook: a person has to change something
    BUG = "Bug"  # MBCAS asked for nonsense; asking again would not help


# Nothing about these changes by waiting: they are tried again when the agent decides something else.
UNTIL_DECIDED_ANEW = frozenset({Outcome.INFEASIBLE, Outcome.BUG})


class _Row(NamedTuple):
    """One kind of answer; all that is given must match."""

    outcome: Outcome
    code: int
    cause: str | None = None  # reason of one of details.causes
    says: str | None = None  # regular expression, somewhere in the message


# The first row that matches counts: the particular before the general.
_TABLE = (
    # An admission policy answers 422, or 403 where its author says so; a webhook answers whatever it likes.
    _Row(Outcome.FORBIDDEN, 422, says=r"ValidatingAdmissionPolicy '.*' denied request"),
    _Row(Outcome.FORBIDDEN, 403, says=r"ValidatingAdmissionPolicy '.*' denied request"),
    _Row(Outcome.FORBIDDEN, 400, says=r"admission webhook .* denied the request"),
    _Row(Outcome.FORBIDDEN, 422, says=r"admission webhook .* denied the request"),
    _Row(Outcome.FORBIDDEN, 401),
    # 403 with a cause: the admission plugin PodResizeValidator, since 1.36.
    _Row(Outcome.CAPACITY, 403, cause="NodeCapacity"),
    _Row(Outcome.INFEASIBLE, 403, cause="UnsupportedPlatform"),
    # 403 without: told apart by words.
    _Row(Outcome.QUOTA, 403, says=r"exceeded quota: "),
    _Row(Outcome.QUOTA, 403, says=r"failed quota: "),
    _Row(Outcome.RETRY, 403, says=r"status unknown for quota: "),
    _Row(Outcome.LIMIT_RANGE, 403, says=r"(maximum|minimum) cpu usage per (Container|Pod) is "),
    _Row(Outcome.LIMIT_RANGE, 403, says=r"cpu max limit to request ratio per (Container|Pod) is "),
    _Row(Outcome.INFEASIBLE, 403, says=r"requires features .* which are not available on node "),
    _Row(Outcome.INFEASIBLE, 403, says=r"pod resize is only supported on "),
    _Row(Outcome.RETRY, 403, says=r'node ".*" not found'),  # its pods will be gone soon, or it comes back
    _Row(Outcome.FORBIDDEN, 403),
    _Row(Outcome.INFEASIBLE, 404, says=r"could not find the requested resource"),  # older than 1.32: no pods/resize
    _Row(Outcome.GONE, 404),
    _Row(Outcome.GONE, 410),
    _Row(Outcome.CONFLICT, 409),
    # 422: the pod was made again under the same name; or it, or its node, cannot be resized; or a mistake of ours.
    _Row(Outcome.GONE, 422, says=r"metadata\.uid: Invalid value: .*: field is immutable"),
    _Row(Outcome.INFEASIBLE, 422, says=r"running on node without support for resize"),
    _Row(Outcome.INFEASIBLE, 422, says=r"(static|windows) pods cannot be resized"),
    _Row(Outcome.INFEASIBLE, 422, says=r"pods with pod-level resources cannot be resized"),
    _Row(Outcome.INFEASIBLE, 422, says=r"Pod QOS Class may not change"),
    _Row(Outcome.BUG, 422),
    _Row(Outcome.RETRY, 408),
    _Row(Outcome.RETRY, 429),
    _Row(Outcome.BUG, 500, says=r"does not contain declared merge key"),
)


def of_error(error: ApiError) -> Outcome:
    """What an error of the API client means; one without an answer may or may not have had an effect."""
    if not isinstance(error, ApiRefused):
        return Outcome.RETRY
    for row in _TABLE:
        if (
            row.code == error.code
            and (row.cause is None or any(reason == row.cause for reason, _, _ in error.causes))
            and (row.says is None or re.search(row.says, error.message))
        ):
            return row.outcome
    return Outcome.RETRY if error.code >= 500 else Outcome.BUG
