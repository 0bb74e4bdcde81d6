"""The terminal as a place to draw on and to read keys from; knows nothing of MBCAS.

`rich.live` rewrites the whole screen for each picture. Over ssh that is seen and felt, so this draws only the lines
that changed, in one write, and lets the terminal show them at once.
"""
