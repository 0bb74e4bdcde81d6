"""A look at the cgroups of this node without a daemon: which ones, read for a while, what they did.

values   what a survey says
targets  which cgroups are meant, and how people call them
reading  samples over a window -> a survey
"""
