"""The configuration file of a daemon that runs: loaded again when it changes, and a bad one is refused.

Kubernetes swaps the files of a mounted ConfigMap through a link, so that neither names nor events can be relied on:
the file is looked at with every call, which costs one stat.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from mbcasd import configfile
from mbcasd.errors import BrokenInput
from mbcasd.settings import Settings

log = logging.getLogger(__name__)


class SettingsFile:
    """Knows the settings in force, and whether the file says something else by now."""

    def __init__(self, path: str | None, environ: Mapping[str, str], role: str) -> None:
        """Load the settings for the first time.

        Args:
            path: The file; None: there is none, and nothing ever changes.
            environ: What overrides it.
            role: Whose defaults apply.

        Raises:
            ConfigError: The settings are wrong.
        """
        self._path, self._environ, self._role = path, environ, role
        self._seen = self._look()
        self.settings = self._load()

    def is_changed(self) -> bool:
        """Whether the file is another one than at the last (re)load, good or bad."""
        return self._path is not None and self._look() != self._seen

    def reload(self) -> str:
        """Take over what the file says now.

        Returns:
            Why it was refused, and the old settings stay in force; empty: they are the new ones.
        """
        self._seen = self._look()
        try:
            self.settings = self._load()
        except BrokenInput as err:
            log.error("settings not taken over, the old ones stay in force: %s", err)  # noqa: TRY400
            return str(err)
        log.info("settings taken over")
        return ""

    def _load(self) -> Settings:
        loaded = configfile.load(self._path, self._environ, {}, role=self._role)
        for note in loaded.without_effect():
            log.warning("%s", note)
        return loaded.settings

    def _look(self) -> tuple[int, ...]:
        """What tells one file from the next; nothing where there is none."""
        if self._path is None:
            return ()
        try:
            found = Path(self._path).stat()
        except OSError:
            return ()
        return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
