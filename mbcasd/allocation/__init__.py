"""Bids and capacity to a clearing, with proof."""
