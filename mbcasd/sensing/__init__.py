"""Cgroup files to samples."""
