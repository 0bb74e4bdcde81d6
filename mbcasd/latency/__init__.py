"""What applications say about their latency, or what can be told without them: the sources of the SLO guardrail."""
