"""How large the parts of a PodAllocation may be.

The definition in `deploy/` is generated with these numbers, so the API server refuses what is above them: whoever
writes one keeps to them. Every string and list has a bound, because the server estimates the cost of its rules by it.
"""

CONTAINERS_MAX = 64  # per pod, sidecars included; a pod with more cannot be managed

LIMIT_MILLI_MIN = 10  # less than the kernel can enforce at a period of 100 ms, see units.MIN_QUOTA_USEC
LIMIT_MILLI_MAX = 512_000  # also what the admission policy lets the controller set
PRICE_MICRO_MAX = 10**12

NAME_CHARS = 63  # of a container
OBJECT_NAME_CHARS = 253  # of a pod or a node
UID_CHARS = 64
MECHANISM_CHARS = 32
REASON_CHARS = 256  # of a decision or of an outcome
MESSAGE_CHARS = 1024  # of a condition
CONDITIONS_MAX = 8
