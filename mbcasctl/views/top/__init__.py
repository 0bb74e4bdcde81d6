"""The live screen of one node: `frame` turns a snapshot and what the person chose into lines.

Pure: no clock, no terminal. `mbcasctl top` draws it again and again; whoever wants the same picture elsewhere
(the demo, a test) calls `frame(snapshot, width, height)` and prints the renderable, or `lines(…)` for its lines.

    state      what the person chose: sorting, filter, selection, overlay
    keys       one key -> the next state
    columns    which figures a row shows, and which of them fit
    header     the node: mode, price, need against given
    overlays   help, node details, explanation
    frame      all of it, exactly as high and wide as the terminal
"""

from mbcasctl.views.sorting import Sort
from mbcasctl.views.top.frame import NO_WORKLOAD, NO_WORKLOAD_IN_CLUSTER, frame, lines
from mbcasctl.views.top.state import Overlay, TopState

__all__ = ["NO_WORKLOAD", "NO_WORKLOAD_IN_CLUSTER", "Overlay", "Sort", "TopState", "frame", "lines"]
