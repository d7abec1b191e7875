"""Reads manifests: opens and unpacks them, recognizes the format, and calls its reader.

Reading is lenient in form and strict in content: encodings, line ends, names of columns and order
do not matter, but an entry that cannot name a series is an error.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO
from urllib.parse import urlsplit

from tcia_covid.core.errors import ManifestError
from tcia_covid.core.redaction import redact
from tcia_covid.core.safe_names import is_system_file
from tcia_covid.formats import signatures
from tcia_covid.formats.xlsx import Workbook, XlsxError
from tcia_covid.selection.manifests import lists, tables
from tcia_covid.selection.manifests.documents import read_json
from tcia_covid.selection.manifests.model import INVISIBLE, Entries, Fetch, Kind, Manifest

MAX_MANIFEST_SIZE = 1024**3
"""Bytes, unpacked. A table of all series of TCIA is smaller."""
_MAX_DOCUMENT = 256 * 1024**2
"""Bytes of JSON and XML, which are held in memory."""
_MAX_LINE = 256 * 1024**2
_MAX_ROW = 1024**2
"""Characters of a line of a table."""
_GET_AGAIN = "copy or download the file again, or unpack it and give what is in it"
_MAX_MEMBERS = 100
"""Files in a ZIP."""
_MAX_ADDRESSES = 50
"""Manifests on the web to which a manifest leads."""
_MAX_DEPTH = 2
"""Manifests in a manifest: a ZIP that a Croissant description leads to, but no more."""
_HEAD = 64 * 1024
"""Bytes from which the format is recognized."""
_BLOCK = 1024**2
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_GZIP = b"\x1f\x8b"
_DOCUMENTS = {
    "xl/workbook.bin": "a binary Excel workbook (.xlsb)",
    "word/document.xml": "a Word document",
    "META-INF/manifest.xml": "an OpenDocument file (.ods, .odt)",
}
"""Files that are ZIPs, by the name of a member."""
_FOR_READERS = re.compile(r"(?:read.?me|licen[cs]e|citation|copying)\b", re.IGNORECASE)
"""Names of other files in a ZIP of a portal."""
_MAX_LISTED = 300
"""Characters of the files of a ZIP in an error."""
_PYTHON_LIST = re.compile(r"\[\s*'")
"""JSON has no strings in single quotes."""
_TABLES = {".csv": "CSV", ".tsv": "TSV"}
_PADDING = "\x00\x1a"
"""What some systems write after the end of a text."""
_AROUND_LINES = f" \t\n{INVISIBLE}{_PADDING}"
_HEADER_LINES = 100
_FILE_NAME = re.compile(r"\w[\w .-]*")
"""A file in the same folder, and no other."""
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f\x7f]")
_UNPACK_ERRORS = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


def read_manifest(
    source: Path | str,
    *,
    stdin: BinaryIO | None = None,
    fetch: Fetch | None = None,
    only: Kind | None = None,
    pinned: bool = False,
) -> Manifest:
    """Read a manifest of any format; the content decides which.

    Args:
        source: a file, `-` for standard input, or an https address.
        stdin: in place of standard input.
        fetch: gets addresses; without it, they are refused.
        only: take only the identifiers of this kind from tables and JSON.
        pinned: also read the versions of series, as lock files have them.

    Raises:
        ManifestError: it cannot be read, is something else or too large, names no series, or has
            an entry that cannot name one: with its line, the format and the columns.
        ArchiveError: an address did not respond.
    """
    reader = _Reader(fetch, only, pinned=pinned)
    if is_address(str(source)):
        return reader.load(str(source), None)
    name = "standard input" if str(source) == "-" else str(source)
    with _opened(name, source, stdin) as file:
        if name != "standard input":
            reader.folder = Path(source).parent
        return reader.read(_Source(name, Path(str(source)).suffix.lower(), file))


def is_address(text: str) -> bool:
    """Whether a target is the address of a manifest on the web."""
    return text.lower().startswith(("https://", "http://"))


@dataclass(slots=True)
class _Source:
    """An open file, with its name for messages and its suffix."""

    name: str
    suffix: str
    file: IO[bytes]
    """Seekable."""


class _Reader:
    """Reads a manifest and those that it leads to."""

    def __init__(self, fetch: Fetch | None, only: Kind | None, *, pinned: bool) -> None:
        self._fetch = fetch
        self._only = only
        self._pinned = pinned
        self._depth = 0
        self._loaded = 0
        self.folder: Path | None = None
        """Of the file that is read, if it is one: it may name files in its folder."""

    def load(self, url: str, sha256: str | None) -> Manifest:
        """Read the manifest at an address.

        Args:
            url: the address, or the name of a file in the folder of the one that is read.
            sha256: what its content must have, or None.
        """
        name = redact(url)
        self._loaded += 1
        if self._loaded > _MAX_ADDRESSES:
            raise ManifestError(f"the manifest leads to more than {_MAX_ADDRESSES} others")
        content = self._content(url, name)
        digest = hashlib.sha256(content).hexdigest()
        if sha256 is not None and digest != sha256.lower():
            raise ManifestError(
                f"{name} is not the file that was described: its SHA-256 is {digest}, not {sha256}",
                hint="it changed or was damaged on the way: look for a newer description",
            )
        suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
        return self._nested(_Source(name, suffix, io.BytesIO(content)))

    def _content(self, url: str, name: str) -> bytes:
        if self.folder is not None and _FILE_NAME.fullmatch(url):
            try:
                with (self.folder / url).open("rb") as file:
                    content = file.read(_MAX_DOCUMENT + 1)
            except OSError as error:
                raise _unreadable(str(self.folder / url), error) from error
            if len(content) > _MAX_DOCUMENT:
                raise _too_large(name, _MAX_DOCUMENT)
            return content
        if self._fetch is None:
            raise ManifestError(
                f"{name} is not read from here", hint="download it, and give the file"
            )
        return self._fetch(url)

    def _nested(self, source: _Source) -> Manifest:
        if self._depth >= _MAX_DEPTH:
            raise ManifestError(f"{source.name} is nested too deeply in other manifests")
        self._depth += 1
        try:
            return self.read(source)
        finally:
            self._depth -= 1

    def _entries(self, source: _Source, format: str) -> Entries:  # noqa: A002 - as in `Manifest`
        return Entries(source.name, format, pinned=self._pinned)

    def read(self, source: _Source) -> Manifest:
        """Unpack the file if it is packed, and read it by its format."""
        head = source.file.read(_HEAD)
        source.file.seek(0)
        if head.startswith(_GZIP):
            return self._read_gzip(source)
        if head.startswith((_ZIP, _EMPTY_ZIP)):
            return self._read_zip(source)
        if described := signatures.describe(head):
            raise _not_a_manifest(source.name, described)
        return self._read_text(source, head)

    def _read_gzip(self, source: _Source) -> Manifest:
        inner = PurePosixPath(Path(source.name).stem).suffix.lower()
        try:
            with gzip.GzipFile(fileobj=source.file, mode="rb") as file:
                return self._nested(_Source(source.name, inner, file))  # type: ignore[arg-type]
        except _UNPACK_ERRORS as error:
            raise ManifestError(
                f"{source.name} is a damaged gzip file: {error}", hint=_GET_AGAIN
            ) from error

    def _read_zip(self, source: _Source) -> Manifest:
        try:
            with zipfile.ZipFile(source.file) as archive:
                members = [info for info in archive.infolist() if _is_content(info)]
                names = {info.filename for info in members}
                if "xl/workbook.xml" in names:
                    return self._read_workbook(source)
                if document := next((_DOCUMENTS[name] for name in _DOCUMENTS if name in names), ""):
                    raise _not_a_manifest(source.name, document)
                if len(members) > _MAX_MEMBERS or not members:
                    raise _not_a_manifest(source.name, f"a ZIP of {len(members)} files")
                entries = self._entries(source, "ZIP")
                for info in _manifests(source.name, archive, members, entries):
                    entries.include(self._read_member(source, archive, info))
                return entries.manifest()
        except (*_UNPACK_ERRORS, RuntimeError) as error:  # RuntimeError: encrypted
            raise ManifestError(
                f"{source.name} is a ZIP that cannot be read: {error}", hint=_GET_AGAIN
            ) from error

    def _read_member(
        self, source: _Source, archive: zipfile.ZipFile, info: zipfile.ZipInfo
    ) -> Manifest:
        suffix = PurePosixPath(info.filename).suffix.lower()
        with archive.open(info) as file:
            return self._nested(_Source(f"{source.name}:{info.filename}", suffix, file))

    def _read_workbook(self, source: _Source) -> Manifest:
        """Read the first sheet with a known column."""
        entries = self._entries(source, "Excel workbook")
        try:
            workbook = Workbook(source.file)
            sheets = workbook.sheets()
            first = next(iter(sheets), "")
            chosen = next(
                (name for name in sheets if tables.has_header(workbook.rows(sheets[name]))), first
            )
            entries.parts.append(f"sheet {chosen}")
            if sheets:
                tables.read_rows(workbook.rows(sheets[chosen]), entries, only=self._only)
        except XlsxError as error:
            raise ManifestError(f"{source.name}: {error}") from error
        return entries.manifest()

    def _read_text(self, source: _Source, head: bytes) -> Manifest:
        encoding, size = _check_text(source, head)
        start = head.decode(encoding, "ignore").lstrip("\ufeff").strip(_PADDING)
        format = _recognize(start, source.suffix)  # noqa: A001 - as in `Manifest`
        entries = self._entries(source, format)
        text = io.TextIOWrapper(source.file, encoding, newline=None)
        numbered = _Numbered(text, entries)
        try:
            if format in ("JSON", "XML"):
                if size > _MAX_DOCUMENT:
                    raise _too_large(source.name, _MAX_DOCUMENT)
                if format == "JSON":
                    read_json(text, entries, self.load, only=self._only)
                else:
                    lists.read_xml(text.read(), entries, self.load)
            elif format in ("CSV", "TSV"):
                tables.read_csv(numbered.raw(), entries, only=self._only)
            elif format == "TCIA manifest":
                lists.read_tcia(numbered.filled(), entries)
            else:
                lists.read_list(numbered.filled(), entries)
        except UnicodeDecodeError as error:
            raise entries.error(numbered.line + 1, f"not {encoding} text") from error
        finally:
            text.detach()
        return entries.manifest()


class _Numbered:
    """The lines of a text, without what some systems write after its end."""

    def __init__(self, text: io.TextIOWrapper, entries: Entries) -> None:
        self._text = text
        self._entries = entries
        self.line = 0
        """The number of the last line."""

    def raw(self) -> Iterator[str]:
        """Yield every line with its end.

        Raises:
            ManifestError: a line is too long for a row of a table.
        """
        for self.line, line in enumerate(self._text, start=1):  # noqa: B020
            if len(line) > _MAX_ROW:
                raise self._entries.error(self.line, f"it has {len(line)} characters")
            yield line.strip(_PADDING) if "\0" in line or "\x1a" in line else line

    def filled(self) -> Iterator[tuple[int, str]]:
        """Yield the lines that are not empty, stripped, with their numbers."""
        for self.line, line in enumerate(self._text, start=1):  # noqa: B020
            if line != "\n" and (stripped := line.strip(_AROUND_LINES)):
                yield self.line, stripped


def _recognize(start: str, suffix: str) -> str:
    """The format of a text, by its first characters, else by the suffix of its name."""
    first = start.lstrip()[:1]
    if first in ("{", "["):
        return "plain list" if _PYTHON_LIST.match(start.lstrip()) else "JSON"
    if first == "<":
        return "XML"
    if suffix == ".tcia" or lists.TCIA_LINE.search(start):
        return "TCIA manifest"
    if suffix in _TABLES or tables.is_table(start.splitlines()[:_HEADER_LINES]):
        return _TABLES.get(suffix, "CSV")
    is_of_buckets = suffix == ".s5cmd" or lists.BUCKET_LINE.search(start)
    return "s5cmd manifest" if is_of_buckets else "plain list"


def _check_text(source: _Source, head: bytes) -> tuple[str, int]:
    """Read the file to its end once, within the bounds; returns its encoding and size.

    Text that is not UTF-8 counts as Latin-1: identifiers are ASCII.
    """
    encoding = _wide_encoding(head)
    if not encoding and (control := _CONTROL.search(head.rstrip(b"\0\x1a"))):
        raise _not_a_manifest(source.name, f"binary data (byte {control[0][0]:#04x})")
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, is_blank, line, longest, size = True, True, 0, 0, 0
    while block := source.file.read(_BLOCK):
        size += len(block)
        first, last = block.find(b"\n"), block.rfind(b"\n")
        longest = max(longest, line + (len(block) if first < 0 else first))
        line = line + len(block) if last < 0 else len(block) - 1 - last
        is_blank = is_blank and block.isspace()
        is_utf8 = is_utf8 and _continues_utf8(decoder, block)
        if size > MAX_MANIFEST_SIZE:
            raise _too_large(source.name, MAX_MANIFEST_SIZE)
        if longest > _MAX_LINE:
            raise _not_a_manifest(source.name, f"text with a line of more than {longest} bytes")
    source.file.seek(0)
    if is_blank:
        raise ManifestError(f"{source.name} names no series: it is empty")
    return encoding or ("utf-8-sig" if is_utf8 else "latin-1"), size


def _continues_utf8(decoder: codecs.IncrementalDecoder, block: bytes) -> bool:
    if block.isascii() and not decoder.getstate()[0]:
        return True
    try:
        decoder.decode(block)
    except UnicodeDecodeError:
        return False
    return True


def _wide_encoding(head: bytes) -> str:
    """UTF-16, with or without a byte order mark; empty for other encodings."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(head) > 1 and zeros.count(0) > 0.9 * len(zeros) and head.count(0) < 0.6 * len(head):
            return encoding
    return ""


@contextmanager
def _opened(name: str, source: Path | str, stdin: BinaryIO | None) -> Iterator[IO[bytes]]:
    """Open a source so that it is seekable: the start, which shows the format, is read again."""
    with ExitStack() as stack:
        try:
            if str(source) == "-":
                # There is no standard input if the caller closed it.
                stream: IO[bytes] = stdin or getattr(sys.stdin, "buffer", None) or io.BytesIO()
            else:
                stream = stack.enter_context(Path(source).open("rb"))
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL
            raise _unreadable(name, error) from error
        try:
            if str(source) == "-" or not stream.seekable():
                stream = _copy(name, stream, stack.enter_context(tempfile.TemporaryFile()))
            yield stream
        except OSError as error:
            raise _unreadable(name, error) from error


def _copy(name: str, stream: IO[bytes], copy: IO[bytes]) -> IO[bytes]:
    while block := stream.read(_BLOCK):
        copy.write(block)
        if copy.tell() > MAX_MANIFEST_SIZE:
            raise _too_large(name, MAX_MANIFEST_SIZE)
    copy.seek(0)
    return copy


def _is_content(info: zipfile.ZipInfo) -> bool:
    """Whether a member of a ZIP is a file, and none that operating systems add."""
    path = PurePosixPath(info.filename)
    return not (info.is_dir() or path.parts[:1] == ("__MACOSX",) or is_system_file(path.name))


def _manifests(
    name: str, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], entries: Entries
) -> list[zipfile.ZipInfo]:
    """Select the files of a ZIP that may be manifests; the others are named in a notice.

    Raises:
        ManifestError: there are DICOM files, or nothing but other files.
    """
    others: dict[str, str] = {}
    for info in members:
        with archive.open(info) as file:
            described = signatures.describe(file.read(signatures.HEAD_SIZE))
        if described == signatures.DICOM:
            raise _not_a_manifest(f"{name}:{info.filename}", described)
        if described or _FOR_READERS.match(PurePosixPath(info.filename).name):
            others[info.filename] = described or "text for readers"
    listed = ", ".join(f"{other} ({what})" for other, what in others.items())
    if len(others) == len(members):
        raise _not_a_manifest(name, f"a ZIP of {listed[:_MAX_LISTED]}")
    if others:
        entries.notices.append(f"not read in {name}: {listed}")
    return [info for info in members if info.filename not in others]


def _unreadable(name: str, error: OSError | ValueError) -> ManifestError:
    if isinstance(error, FileNotFoundError):
        return ManifestError(f"there is no file {name}", hint="check its path")
    reason = getattr(error, "strerror", None) or str(error)
    return ManifestError(f"the manifest {name} cannot be read: {reason}")


def _too_large(name: str, limit: int) -> ManifestError:
    return ManifestError(f"{name} is not a manifest: it is larger than {limit >> 20} MiB")


def _not_a_manifest(name: str, what: str) -> ManifestError:
    return ManifestError(
        f"{name} is {what}, not a manifest",
        hint="a manifest is a .tcia, .s5cmd, CSV, TSV, Excel (.xlsx), JSON, Croissant or text file "
        "with series, studies or patients",
    )
