"""Composition: who is wired to whom."""
