"""Real workloads in real cgroups, driven by an open loop, under one regime of limits after the other.

The story: `workloads` and `phases` say what runs, as data; `schedule` turns phases into arrivals; `rig` starts the
services of `service` in cgroups of their own; `traffic` sends the arrivals; `watch` reads the kernel's counters;
`experiment` does this once per regime; `figures` and `results` turn what was seen into numbers.
"""
