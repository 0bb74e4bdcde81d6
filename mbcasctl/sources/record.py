"""Pictures from a record on disk: the last one as the daemon left it, and earlier ones put together from its rows."""

from mbcasctl.sources.past import Past
from mbcasd.accounting.reading import RecordReader
from mbcasd.errors import RecordError
from mbcasd.model.snapshot import NodeSnapshot


class RecordSource:
    """One record; it is opened anew for each question, so that a daemon may go on writing or begin another file."""

    def __init__(self, path: str) -> None:
        """Look at the record at `path`."""
        self._path = path

    @property
    def place(self) -> str:
        """The path."""
        return self._path

    def snapshot(self) -> NodeSnapshot:
        """The last picture in it.

        Raises:
            ConfigError: There is no record at that path.
            RecordError: It cannot be read, or it holds no picture yet.
        """
        with RecordReader(self._path) as reader:
            return self._last(reader)

    def past(self, window_s: float) -> Past:
        """The pictures of the last `window_s` seconds before its end, one for each clearing.

        Raises:
            ConfigError: There is no record at that path.
            RecordError: It cannot be read, or it holds no picture yet.
        """
        with RecordReader(self._path) as reader:
            return Past.load(reader, self._last(reader), window_s)

    def _last(self, reader: RecordReader) -> NodeSnapshot:
        last = reader.snapshot()
        if last is None:
            raise RecordError(f"the record {self._path} holds no picture yet: the daemon adds one every ten seconds")
        return last
