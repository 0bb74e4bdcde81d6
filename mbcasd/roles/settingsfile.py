"""The settings file of a role in a cluster: a mounted ConfigMap, which appears, changes and breaks meanwhile."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from mbcasd import configfile
from mbcasd.errors import BrokenInput
from mbcasd.settings import Settings

log = logging.getLogger(__name__)


class SettingsFile:
    """Holds the settings in force; a change of the file is taken over, a bad one is refused and told."""

    def __init__(
        self,
        path: str | None,
        environ: Mapping[str, str],
        role: str,
        *,
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Read it for the first time.

        Args:
            path: The file; it need not exist yet, as its ConfigMap is optional. None: there is none.
            environ: For MBCAS_… variables.
            role: Whose defaults apply.
            on_refused: Told why a change is not taken over, once per change.

        Raises:
            ConfigError: What stands there is wrong; at the start there are no old settings to go on with.
        """
        self._path = None if path is None else Path(path)
        self._environ, self._role, self._on_refused = environ, role, on_refused
        self._text = self._read()
        self.settings = self._load(self._text)

    def poll(self) -> bool:
        """Look at it again; returns whether other settings are in force now.

        The content is compared, not the time: the kubelet swaps a symbolic link above the file.
        """
        text = self._read()
        if text == self._text:
            return False
        self._text = text
        try:
            settings = self._load(text)
        except BrokenInput as err:
            log.error("settings not taken over, the old ones stay in force: %s", err)  # noqa: TRY400
            self._on_refused(str(err))
            return False
        log.info("settings taken over")
        changed = settings != self.settings
        self.settings = settings
        return changed

    def _read(self) -> bytes | None:
        try:
            return None if self._path is None else self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            log.debug("%s cannot be read: %s", self._path, err)
            return self._text if hasattr(self, "_text") else None

    def _load(self, text: bytes | None) -> Settings:
        path = None if text is None else str(self._path)
        loaded = configfile.load(path, self._environ, {}, self._role)
        for note in loaded.without_effect():
            log.warning("%s", note)
        return loaded.settings
