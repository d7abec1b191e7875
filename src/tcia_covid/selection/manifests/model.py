"""The content of a manifest of any format: identifiers by kind, with line numbers."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Literal, get_args
from uuid import UUID

from tcia_covid.core.errors import ManifestError
from tcia_covid.core.models import SERIES_NAMES
from tcia_covid.core.redaction import printable
from tcia_covid.core.safe_names import is_uid, uid_problem

Kind = Literal[
    "series", "study", "patient", "crdc_series_uuid", "address", "word", "modality", "body_part"
]
"""Kinds of identifiers in manifests.

`series` and `study` are UIDs of DICOM, `patient` is a PatientID, `crdc_series_uuid` is IDC's UUID
of a series. `address` is the folder of a series in a bucket, such as `s3://idc-open-data/<uuid>`,
without a trailing `/*`. `word` is an entry of a plain list, which does not say what it is: any
TARGET but a file. `modality` and `body_part` are read for filters only.
"""
KINDS: tuple[Kind, ...] = get_args(Kind)
FILTER_KINDS: frozenset[Kind] = frozenset(("modality", "body_part"))
"""Columns that select series, but name none."""
Pin = Mapping[str, int | str | None]
"""The version of a series that a row of a lock file names: attributes of `Series` and values."""
PINNED: Mapping[str, str] = {
    SERIES_NAMES[attribute]: attribute for attribute in ("image_count", "size", "crdc_uuid", "md5")
}
"""Columns of lock files to attributes of `Series`."""
Fetch = Callable[[str], bytes]
"""Gets the content of an https address; raises a `TciaCovidError`."""
INVISIBLE = "\ufeff\u00a0\u200b"
"""Characters that web pages, chats and editors leave at the ends of a text."""
_COLUMNS: Mapping[str, Kind] = {
    "seriesinstanceuid": "series",
    "seriesuid": "series",
    "seriesid": "series",
    "crdcseriesuuid": "crdc_series_uuid",
    "seriesawsurl": "address",
    "awsurl": "address",
    "s3url": "address",
    "seriesgcsurl": "address",
    "gcsurl": "address",
    "studyinstanceuid": "study",
    "studyuid": "study",
    "anonstudyuid": "study",
    "patientid": "patient",
    "subjectid": "patient",
    "topatientid": "patient",
    "anonmrn": "patient",
    "modality": "modality",
    "bodypartexamined": "body_part",
    "bodypart": "body_part",
}
"""Names of columns in lower case, without spaces and punctuation; the best column first. Some are
those of the collections' clinical tables (docs/clinical-data.md)."""
_RANKS = {name: rank for rank, name in enumerate(_COLUMNS)}
_TAGS: Mapping[str, str] = {
    "0020000e": "seriesinstanceuid",
    "0020000d": "studyinstanceuid",
    "00100020": "patientid",
}
_TAG = re.compile(r"\(?\b([0-9]{4})[,|]?([0-9a-f]{4})\)?\Z")
_MERGED = re.compile(r"[._](?:x|y|left|right|[0-9]{1,2})\Z")
"""What pandas and R append to a column that both tables have."""
_HEX = "[0-9a-fA-F]"
_UUID = re.compile(rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}")
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_MD5 = re.compile(rf"{_HEX}{{32}}")
_PIN_FORMATS = dict(zip(PINNED, (_NUMBER, _NUMBER, _UUID, _MD5), strict=True))
_ROW = struct.Struct("<Bqq16s16s")
"""The values of a pin, after flags: which columns there are, and which of them have a value."""
_ROWS_PER_BLOCK = 4096
_ABSENT = object()
_values_of = itemgetter(*PINNED)
_PLAIN_ROW = re.compile("\n".join(f"({pattern.pattern})" for pattern in _PIN_FORMATS.values()))
"""The values of a row that has all of them: one pattern is much quicker than four."""
_UID_IN_TEXT = re.compile(r"\b[0-9]+(?:\.[0-9]+){5,}\b")
_LIKE_A_UID = re.compile(r"[0-9]+\.[0-9]")
_ADDRESS = re.compile(r"(s3|gs)://([a-z0-9][a-z0-9._-]*)/([^/*?]+)(?:/.*)?", re.IGNORECASE)
_BUCKET_ON_THE_WEB = re.compile(
    r"https?://(?:(?P<s3>[a-z0-9][a-z0-9._-]*)\.s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com"
    r"|s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com/(?P<path>[a-z0-9][a-z0-9._-]*)"
    r"|storage\.(?:googleapis|cloud\.google)\.com/(?P<gs>[a-z0-9][a-z0-9._-]*))"
    rf"/(?P<folder>{_UUID.pattern})(?:[/?].*)?",
    re.IGNORECASE,
)
"""The addresses by which Amazon and Google give objects of a bucket to a browser."""
_WORD = re.compile(r"\w[\w .^+&()'/:-]{0,63}", re.ASCII)
_MAX_SPACES = 5
"""In the name of a collection or patient; a text with more is a sentence."""
_HINTS = {
    "": "is it the right file, and complete?",
    "TCIA manifest": "its series follow the line ListOfSeriesToDownload=: if it is truncated, "
    "download it again from TCIA's page of the collection",
}
"""What to do about a manifest without series, by its format."""
_MAX_NAME = 100
"""Characters of the longest name of a column."""
_SHOWN = 100


class Pins(Mapping[str, Pin]):
    """The versions of series, packed: as dictionaries, those of 1,000,000 series take 300 MB more.

    Args:
        uids: the series of a manifest in its order, to which others may be added at the end.
    """

    def __init__(self, uids: dict[str, int]) -> None:
        self._uids = uids
        self._blocks: list[bytearray] = []
        """Rows of the series, zeros for those without a version. One array that grows would take
        more memory than it has."""
        self._positions: dict[str, int] = {}
        """Made when a series is looked up; reading a lock file in its order needs none."""
        self._count = 0

    def add(self, uid: str, row: bytes) -> bool:
        """Add the version of a series that is among the UIDs; False if it has another one."""
        is_last = next(reversed(self._uids)) == uid
        block, start = self._place(len(self._uids) - 1 if is_last else self._find(uid))
        if block[start]:
            return block[start : start + _ROW.size] == row
        block[start : start + _ROW.size] = row
        self._count += row[0] > 0
        return True

    def __getitem__(self, uid: str) -> Pin:
        block, start = self._place(self._find(uid))
        flags, image_count, size, crdc_uuid, md5 = _ROW.unpack_from(block, start)
        if not flags:
            raise KeyError(uid)
        values = zip(
            PINNED.values(),
            (image_count, size, str(UUID(bytes=crdc_uuid)), md5.hex()),
            strict=True,
        )
        known = _attributes(flags)
        return {name: value if known[name] else None for name, value in values if name in known}

    def __iter__(self) -> Iterator[str]:
        return (uid for uid, _ in self.attributes())

    def attributes(self) -> Iterator[tuple[str, Mapping[str, bool]]]:
        """Each series in order, with the attributes that its version has, and whether of a value.

        Much quicker than a look-up of each series.
        """
        rows = chain.from_iterable(block[:: _ROW.size] for block in self._blocks)
        return (
            (uid, _attributes(flags)) for uid, flags in zip(self._uids, rows, strict=False) if flags
        )

    def __len__(self) -> int:
        return self._count

    def _find(self, uid: str) -> int:
        last = len(self._uids) - 1
        for back, added in enumerate(reversed(self._uids)):  # since the last look-up
            if added in self._positions:
                break
            self._positions[added] = last - back
        return self._positions[uid]

    def _place(self, position: int) -> tuple[bytearray, int]:
        """The block of a series, and the offset of its row."""
        number, index = divmod(position, _ROWS_PER_BLOCK)
        while number >= len(self._blocks):
            self._blocks.append(bytearray(_ROW.size * _ROWS_PER_BLOCK))
        return self._blocks[number], _ROW.size * index


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a manifest. Who reads it resolves the identifiers to series."""

    name: str
    """The file or address as given; `standard input` for `-`."""
    format: str
    """The recognized format, for messages: `TCIA manifest`, `CSV`, `s5cmd manifest`, …"""
    identifiers: Mapping[Kind, dict[str, int]]
    """Each distinct identifier, with the number (from 1) of the line that first names it."""
    duplicates: int = 0
    """Entries that repeat an earlier one."""
    notices: tuple[str, ...] = ()
    """What the user should know: entries of other kinds that are not series."""
    server: str | None = None
    """`.tcia`: the downloadServerUrl, which is not used."""
    pins: Pins = field(default_factory=lambda: Pins({}))
    """The version of each series, if the manifest is read as a lock file."""

    @property
    def series(self) -> tuple[str, ...]:
        """The SeriesInstanceUIDs that it names as such, in its order."""
        return tuple(self.identifiers.get("series", ()))


class Entries:
    """Collects and checks the identifiers of one manifest.

    Args:
        name: the file or address, for messages.
        format: the recognized format, for messages.
        pinned: whether to collect the versions of series, as lock files have them.
    """

    def __init__(self, name: str, format: str, *, pinned: bool = False) -> None:  # noqa: A002 - as in `Manifest`
        self.name = name
        self.format = format
        self.parts: list[str] = []
        """The sheet and column that are read, for messages."""
        self.notices: list[str] = []
        self.server: str | None = None
        self.pinned = pinned
        self._duplicates = 0
        self._identifiers: dict[Kind, dict[str, int]] = {kind: {} for kind in KINDS}
        self._pins = Pins(self._identifiers["series"])

    def add(self, kind: Kind, value: str, line: int) -> None:
        """Add an identifier.

        Raises:
            ManifestError: it is not one of that kind.
        """
        if kind == "series" or kind == "study":  # noqa: PLR1714 - the fastest form
            if not (is_uid(value) and "." in value):
                name = "SeriesInstanceUID" if kind == "series" else "StudyInstanceUID"
                raise self.error(line, f"{quote(value)} is not a {name}: {uid_problem(value)}")
        elif kind == "address":
            value = self._folder(value, line)
        elif kind == "crdc_series_uuid":
            if not _UUID.fullmatch(value):
                raise self.error(line, f"{quote(value)} is not a UUID, as crdc_series_uuid is")
            value = value.lower()
        known = self._identifiers[kind]
        if value in known:
            self._duplicates += 1
        else:
            known[value] = line

    def add_word(self, text: str, line: int) -> None:
        """Add an entry of a list that does not say what it is.

        Raises:
            ManifestError: it cannot be an identifier.
        """
        if is_uid(text) and "." in text:
            self.add("word", text, line)
        elif _UUID.fullmatch(text):
            self.add("crdc_series_uuid", text, line)
        elif "://" in text:
            self.add("address", text, line)
        elif _LIKE_A_UID.match(text):
            raise self.error(line, f"{quote(text)} is not a UID: {uid_problem(text)}")
        elif _WORD.fullmatch(text) and text.count(" ") < _MAX_SPACES:
            self.add("word", text, line)
        else:
            raise self.error(
                line,
                f"{quote(text)} is not a UID, UUID, PatientID or s3:// or gs:// address",
                hint="a list has one of these per line, and nothing else"
                + (f": here only {uid[0]}" if (uid := _UID_IN_TEXT.search(text)) else ""),
            )

    def pin(
        self,
        uid: str,
        values: Mapping[str, Any],
        line: int,
        clean: Callable[[str], str] = str.strip,
    ) -> None:
        """Add the version of a series.

        Args:
            uid: its SeriesInstanceUID, which was added.
            values: of the row, by column; those of `PINNED` count.
            line: for messages.
            clean: removes what is not part of a value.

        Raises:
            ManifestError: a value cannot be one of its column, or another row contradicts it.
        """
        if not self._pins.add(uid, self._packed(values, line, clean)):
            first = self._identifiers["series"][uid]
            raise self.error(
                line,
                f"series {uid} has other values here than in line {first}",
                hint="a lock file names one version of each series: write it again",
            )

    def _packed(self, values: Mapping[str, Any], line: int, clean: Callable[[str], str]) -> bytes:
        if texts := _plain_texts(values):
            return _row(0xFF, *texts)
        flags, texts = 0, []
        for bit, (name, pattern) in enumerate(_PIN_FORMATS.items()):
            value = values.get(name, _ABSENT)
            text = "" if value is _ABSENT or value is None else clean(str(value))
            if text and not pattern.fullmatch(text):
                raise self.error(line, f"{quote(text)} is no value of {name}")
            flags |= ((value is not _ABSENT) | (text != "") << 4) << bit
            texts.append(text or ("0" if pattern is _NUMBER else ""))
        return _row(flags, *texts)

    def include(self, other: Manifest) -> None:
        """Add the content of a manifest that is a part of this one, and not used otherwise."""
        if not any(self._identifiers.values()):  # take over the first one without a copy
            self._identifiers |= other.identifiers
            if "series" in other.identifiers:
                self._pins = other.pins
        else:
            for kind, values in other.identifiers.items():
                for value, line in values.items():
                    self.add(kind, value, line)
            for uid, pin in other.pins.items():
                names = {name: pin[of] for name, of in PINNED.items() if of in pin}
                self.pin(uid, names, other.identifiers["series"][uid])
        self._duplicates += other.duplicates
        self.notices += other.notices

    def manifest(self) -> Manifest:
        """Return what was collected.

        Raises:
            ManifestError: that is nothing.
        """
        identifiers = {kind: values for kind, values in self._identifiers.items() if values}
        if not identifiers:
            raise ManifestError(
                f"{self.name} ({self.format}) names no series",
                hint="; ".join(self.notices) or _HINTS.get(self.format, _HINTS[""]),
            )
        return Manifest(
            self.name,
            self.format,
            identifiers,
            self._duplicates,
            tuple(dict.fromkeys(self.notices)),
            self.server,
            self._pins,
        )

    def error(self, line: int, problem: str, *, hint: str = "") -> ManifestError:
        """The error for a line: file, line, recognized format, problem."""
        kind = ", ".join([self.format, *self.parts])
        return ManifestError(f"{self.name}, line {line} ({kind}): {problem}", hint=hint)

    def _folder(self, address: str, line: int) -> str:
        """Return the address of the folder of a series: without what follows the folder."""
        match = _ADDRESS.fullmatch(bucket_address(address))
        if match is None:
            raise self.error(
                line,
                f"{quote(address)} is not the address of a series in a bucket",
                hint="such an address is s3://BUCKET/UUID/ or gs://BUCKET/UUID/",
            )
        scheme, bucket, folder = match.groups()
        return f"{scheme.lower()}://{bucket}/{folder}"


@lru_cache(maxsize=4096)
def column_kind(name: str) -> tuple[Kind, int] | None:
    """What a column or key of this name contains, and its rank: the lowest is the best.

    Case, spaces, punctuation, DICOM tags as in `Series Instance UID (0020,000e)`, and suffixes of
    merged tables as in `SeriesInstanceUID_x` do not matter.
    """
    if len(name) > _MAX_NAME:
        return None
    text = name.strip(f"{INVISIBLE} \t\"'").casefold()
    tag = _TAG.search(text)
    tagged = _TAGS.get(tag[1] + tag[2], "") if tag else ""
    for candidate in (text, _TAG.sub("", text), tagged, _MERGED.sub("", text)):
        plain = re.sub(r"[\W_]", "", candidate)
        if plain in _COLUMNS:
            return _COLUMNS[plain], _RANKS[plain]
    return None


def _plain_texts(values: Mapping[str, Any]) -> Sequence[str]:
    """The values of the columns of `PINNED`; empty if a row does not have all of them."""
    try:
        match = _PLAIN_ROW.fullmatch("\n".join(map(str, _values_of(values))))
    except KeyError:
        return ()
    return match.groups() if match else ()


def _row(flags: int, image_count: str, size: str, crdc_uuid: str, md5: str) -> bytes:
    return _ROW.pack(
        flags,
        int(image_count),
        int(size),
        bytes.fromhex(crdc_uuid.replace("-", "")),
        bytes.fromhex(md5),
    )


@cache
def _attributes(flags: int) -> Mapping[str, bool]:
    """What the flags of a row say: its attributes, and whether each has a value."""
    return {
        attribute: bool(flags & 0x10 << bit)
        for bit, attribute in enumerate(PINNED.values())
        if flags & 1 << bit
    }


def is_wanted(kind: Kind, only: Kind | None) -> bool:
    """Whether identifiers of a kind are read: those of `only`, or else all that name series."""
    return kind == only if only else kind not in FILTER_KINDS


def is_identifier(text: str) -> bool:
    """Whether a text is a UID, a UUID or the address of a series, and no mere word."""
    is_uid_with_dot = "." in text and is_uid(text)
    is_address = _ADDRESS.fullmatch(bucket_address(text))
    return is_uid_with_dot or bool(_UUID.fullmatch(text) or is_address)


def bucket_address(text: str) -> str:
    """Return the `s3://` or `gs://` form of a web address of a series; other texts as they are."""
    match = _BUCKET_ON_THE_WEB.fullmatch(text)
    if match is None:
        return text
    scheme, bucket = ("gs", match["gs"]) if match["gs"] else ("s3", match["s3"] or match["path"])
    return f"{scheme}://{bucket}/{match['folder']}"


def quote(text: str) -> str:
    """Quote a value for a message: whole, unless it is very long."""
    shown = printable(text[:_SHOWN])
    return repr(shown if len(text) <= _SHOWN else f"{shown}…")
