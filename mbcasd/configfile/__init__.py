"""Configuration: one TOML file, the environment and flags → Settings, each value with its source.

    keys      the one table of keys: field, form, reason        kinds    how values are written
    reading   file → entries with their lines (lines, aliases)  judging  contradictions, nearest names
    loading   all places merged                                 writing  settings → file

The daemon and the command use this package; nothing in it is needed once settings are loaded.
"""

from mbcasd.configfile.loading import LoadedSettings, load

__all__ = ["LoadedSettings", "load"]
