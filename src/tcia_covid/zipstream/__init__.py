"""A forward-only ZIP reader: bytes in, entries out, proved against the archive's own directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tcia_covid.inflate import DEFAULT, Engine
from tcia_covid.zipstream.directory import END_SIGNATURE, check_end
from tcia_covid.zipstream.entry import Entry
from tcia_covid.zipstream.header import LOCAL_SIGNATURE, Record, read_local_header
from tcia_covid.zipstream.problems import damaged, not_a_zip, refused
from tcia_covid.zipstream.source import Source

__all__ = ["Entry", "ZipStream"]

MAX_ENTRIES = 100_000
_NAME_BYTES = 16 * 1024 * 1024
"""The most that the names of all entries may take: they are kept for the directory's sake."""
_OVERHEAD = 64 * 1024 * 1024
"""Room for headers and directory, beside data that at worst doubles when "compressed"."""


class ZipStream(Iterator[Entry]):
    """The files of a ZIP that is read while it arrives, front to back, never stored.

    Iterating ends only after the central directory and the end record were read and agree with
    the entries, and nothing follows them: then, and only then, the ZIP arrived as it was sent.
    Whether everything was sent is another question: a server may well have closed a ZIP early.
    An entry has to be read before the next is asked for; what is left of it is skipped, checked
    all the same. Folders are skipped. Memory: about a MiB, and a record an entry.

    Args:
        read: gives up to so many bytes, and none at the stream's end.
        max_entry_size: the most bytes a single entry may inflate to.
        max_total_size: the most bytes all entries together may inflate to.
        max_entries: the most entries, folders included.
        engine: what inflates.

    Raises (while iterated, and by `Entry.chunks`):
        TruncatedZipError: the stream ends before its end record is complete.
        ZipError: it is no ZIP, damaged, of a kind that is not accepted, or too large.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        *,
        max_entry_size: int,
        max_total_size: int,
        max_entries: int = MAX_ENTRIES,
        engine: Engine = DEFAULT,
    ) -> None:
        self._source = Source(read, limit=2 * max_total_size + _OVERHEAD)
        self._engine = engine
        self._max_entry_size = max_entry_size
        self._left = max_total_size
        self._max_entries = max_entries
        self._name_bytes_left = _NAME_BYTES
        self._names: set[bytes] = set()
        self._records: dict[int, Record] = {}
        self._entry: Entry | None = None
        self._complete = False

    def __iter__(self) -> ZipStream:
        return self

    def __next__(self) -> Entry:
        if self._complete:
            raise StopIteration
        while self._next_is_entry():
            self._entry = self._open()
            if not self._entry.is_directory:
                return self._entry
        check_end(self._source, self._records)
        self._complete = True
        raise StopIteration

    def _next_is_entry(self) -> bool:
        """Finish the entry at hand, and say whether another follows."""
        if self._entry is not None:
            self._keep(self._entry.finish())
            self._entry = None
        signature = self._source.peek(4)
        if not self._source.position and not _may_begin_zip(signature):
            raise not_a_zip(self._source.peek(1024))
        return signature == LOCAL_SIGNATURE

    def _open(self) -> Entry:
        if len(self._records) == self._max_entries:
            raise refused(f"the ZIP has more than the {self._max_entries} entries it may have")
        header = read_local_header(self._source)
        limit, limit_of = self._max_entry_size, "the most a single file of it may have"
        if self._left < limit:
            limit, limit_of = self._left, "what was left of the most the whole may have"
        return Entry(self._source, header, self._engine, limit=limit, limit_of=limit_of)

    def _keep(self, record: Record) -> None:
        """Note an entry that was read, for the limits and for the directory's check."""
        self._left -= record.size
        self._name_bytes_left -= len(record.name)
        if self._name_bytes_left < 0:
            raise refused("the names of the ZIP's entries are longer than any archive's")
        if record.name in self._names:
            raise damaged("the ZIP has two entries of the same name")
        self._names.add(record.name)
        self._records[record.offset] = record


def _may_begin_zip(signature: bytes) -> bool:
    """Whether a ZIP, perhaps one without entries, may begin so; a cut one may be shorter."""
    return any(s.startswith(signature) for s in (LOCAL_SIGNATURE, END_SIGNATURE))
