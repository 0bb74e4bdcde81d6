"""Python's cycle collector, kept calm in daemons that run for months."""

import gc


def calm_the_collector() -> None:
    """Keep it from walking all modules again and again.

    The engine makes thousands of short-lived values per second and no cycles; with the default thresholds half of
    the daemon's CPU went into looking for some (measured, 100 hot containers).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
