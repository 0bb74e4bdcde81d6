"""The engine: estimate, bid, guard, clear and plan, joined on one page and free of the outside world.

`step(state, seen, now_s) -> (state, decision)` is pure: it gets the time and what was seen, and returns its
next state and what follows. The live daemon, the replayer and the simulator are three clocks for it.

In the story the guard stands after the clearing, since it reacts to what the last clearing did; in the code it
stands before, since it amends the bids of the next one. Both are the same cycle.
"""

from mbcasd.engine.state import EngineConfig, EngineState, reconfigure, start
from mbcasd.engine.step import step

__all__ = ["EngineConfig", "EngineState", "reconfigure", "start", "step"]
