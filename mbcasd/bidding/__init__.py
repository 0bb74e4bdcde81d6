"""Demand and contract to bids."""
