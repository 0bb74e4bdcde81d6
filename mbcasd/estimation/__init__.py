"""Samples to demand: what a workload would use if its limit did not hold it."""
