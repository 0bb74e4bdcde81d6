"""What the exit codes of both programs mean."""

DONE = 0
FAILED = 1
BAD_INPUT = 2
NOT_HEALTHY = 3  # not healthy, or not verified
