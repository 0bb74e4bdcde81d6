"""One file per command: options, one call, one view."""
