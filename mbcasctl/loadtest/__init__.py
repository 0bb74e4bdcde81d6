"""Real workloads, phases, traffic and the report."""
