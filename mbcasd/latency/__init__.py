"""How slow workloads are for their users: three sources behind one port.

    push        the application says so itself, through `POST /slo` on the Unix socket
    prometheus  a PromQL query per workload, asked in a thread of its own
    runqueue    how long its tasks wait for a CPU, where nothing else is known

`sources` joins them: what pushes is not asked for, and what can be asked for is not guessed. A source that is dead,
slow or lying gives no reading, and without a reading nothing moves.
"""
