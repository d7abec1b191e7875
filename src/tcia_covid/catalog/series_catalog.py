"""Reads the shipped catalog: one gzipped table per collection, one line per series.

`catalog.json` has its source and the totals of each table. The tables are plain text
(`zcat covid-19-ar.tsv.gz`); `scripts/build_catalog.py` writes all of it. A table is read when its
collection is first used, and then cached.
"""

from __future__ import annotations

import gzip
import json
import operator
import pkgutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, repeat
from typing import Any, NamedTuple

from tcia_covid.core.errors import RegistryError, UnknownCollectionError
from tcia_covid.core.models import SERIES_NAMES, Series

INDEX = "catalog.json"
IDC_NAMES = {
    "SeriesInstanceUID": "uid",
    "PatientID": "patient",
    "StudyInstanceUID": "study",
    "Modality": "modality",
    "BodyPartExamined": "body_part",
    "SeriesDate": "date",
    "StudyDate": "study_date",
    "SeriesDescription": "description",
    "StudyDescription": "study_description",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "manufacturer_model",
    "PatientSex": "patient_sex",
    "PatientAge": "patient_age",
    "SOPClassUID": "sop_class",
    "TransferSyntaxUID": "transfer_syntax",
    "PhotometricInterpretation": "photometric_interpretation",
    "license_short_name": "license",
    "aws_bucket": "bucket",
    "crdc_series_uuid": "crdc_uuid",
}
"""Columns of text: IDC's name, and the attribute of `Series`."""
_COLUMNS = {
    **IDC_NAMES,
    "SeriesNumber": "number",
    "instanceCount": "image_count",
    "series_size_bytes": "size",
    "source_DOI": "data_url",
}
COLUMNS = tuple(_COLUMNS)
"""The first line of every table; an empty field means not recorded."""
IDENTIFIERS = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "crdc_series_uuid")
"""The columns by which series are looked up."""
_POSITIONS = {name: COLUMNS.index(name) for name in IDENTIFIERS}
_WHOLE_NUMBERS = {"number", "image_count", "size"}
_BATCH = 1000
"""Lines to convert at once: few enough to need little memory."""
_LICENSE_URLS = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC 4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
}
_REINSTALL = "install tcia-covid again"


class CatalogEntry(NamedTuple):
    """The totals of one collection."""

    collection: str
    """TCIA's name."""
    file: str
    patients: int
    studies: int
    series: int
    images: int
    size: int
    """Bytes of all images."""


class CatalogInfo(NamedTuple):
    """The source, date and totals of the catalog."""

    version: str
    """Version of the package `idc-index-data`."""
    idc_version: str
    """The release of IDC."""
    built: str
    """The day of the build, `yyyy-mm-dd`."""
    entries: tuple[CatalogEntry, ...]


class Match(NamedTuple):
    """What an identifier is, and its series."""

    column: str
    """One of `IDENTIFIERS`."""
    series: list[Series]


@cache
def info() -> CatalogInfo:
    """Read the source and totals of the catalog, without any table.

    Raises:
        RegistryError: the installed catalog is damaged.
    """
    try:
        document = json.loads(_packaged(INDEX))
        entries = tuple(CatalogEntry(**values) for values in document.pop("entries"))
        return CatalogInfo(**document, entries=entries)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(INDEX) from error


def entry(collection: str) -> CatalogEntry | None:
    """Get the totals of `collection` (in TCIA's spelling), or None."""
    return next((listed for listed in info().entries if listed.collection == collection), None)


def has(collection: str) -> bool:
    """Whether the catalog has `collection` (in TCIA's spelling)."""
    return entry(collection) is not None


def load(collection: str) -> list[Series]:
    """List the series of `collection`, ordered by patient, study, number and UID.

    Raises:
        UnknownCollectionError: the catalog does not have it.
        RegistryError: the installed catalog is damaged.
    """
    return list(_table(collection))


def find(uids: Iterable[str]) -> dict[str, Series]:
    """Find series by SeriesInstanceUID, in the given order, without unknown ones."""
    wanted = dict.fromkeys(uids)
    known: dict[str, Series] = {}
    for listed in _smallest_first():
        if len(known) == len(wanted):
            break
        index, lines = _index(listed.collection), _lines(listed.collection)
        named = [lines[index[uid][0]] for uid in wanted if uid in index]
        matches = _series(listed.collection, named)
        known |= {series.uid: series for series in matches if series.uid in wanted}
    return {uid: known[uid] for uid in wanted if uid in known}


def lookup(identifier: str, columns: Iterable[str] = IDENTIFIERS) -> Match | None:
    """Find the series of an identifier, which may be one of `columns`; case does not matter.

    Small tables are read first, and only as far as is needed.
    """
    folded = identifier.casefold()
    for listed in _smallest_first():
        rows = _index(listed.collection).get(folded)
        if not rows:
            continue
        lines = _lines(listed.collection)
        values = lines[rows[0]].split("\t")
        column = next(name for name, at in _POSITIONS.items() if values[at].casefold() == folded)
        if column in columns:
            return Match(column, list(_series(listed.collection, [lines[row] for row in rows])))
    return None


@cache
def _smallest_first() -> tuple[CatalogEntry, ...]:
    return tuple(sorted(info().entries, key=lambda listed: listed.series))


@cache
def _index(collection: str) -> Mapping[str, list[int]]:
    """Map every identifier, folded, to its rows."""
    index: dict[str, list[int]] = {}
    identifiers = operator.itemgetter(*_POSITIONS.values())
    for row, line in enumerate(_lines(collection)):
        for identifier in identifiers(line.split("\t")):
            index.setdefault(identifier.casefold(), []).append(row)
    return index


@cache
def _table(collection: str) -> tuple[Series, ...]:
    # Not of `_lines`, which would stay in memory as well.
    return tuple(_series(collection, _read_lines(collection)))


@cache
def _lines(collection: str) -> list[str]:
    return _read_lines(collection)


def _read_lines(collection: str) -> list[str]:
    listed = entry(collection)
    if listed is None:
        raise UnknownCollectionError(f"the catalog does not list the collection {collection!r}")
    try:
        header, *lines = gzip.decompress(_packaged(listed.file)).decode().splitlines()
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise _damaged(listed.file) from error
    separators = len(COLUMNS) - 1
    is_whole = all(line.count("\t") == separators for line in lines)
    if header != "\t".join(COLUMNS) or len(lines) != listed.series or not is_whole:
        raise _damaged(listed.file)
    return lines


def _series(collection: str, lines: Sequence[str]) -> Iterator[Series]:
    """Convert lines, column by column: that is faster than one by one."""
    batches = (lines[start : start + _BATCH] for start in range(0, len(lines), _BATCH))
    return chain.from_iterable(_batch(collection, batch) for batch in batches)


def _batch(collection: str, lines: Iterable[str]) -> Iterator[Series]:
    columns = zip(*(line.split("\t") for line in lines), strict=True)
    values: dict[str, Iterable[Any]] = {
        attribute: _converted(attribute, column)
        for attribute, column in zip(_COLUMNS.values(), columns, strict=True)
    }
    values["collection"] = repeat(collection)
    values["license_url"] = map(_LICENSE_URLS.get, values["license"])
    values["third_party"] = repeat(object=False)
    return map(Series, *(values.get(name, repeat(None)) for name in SERIES_NAMES))


def _converted(attribute: str, column: Sequence[str]) -> list[Any]:
    convert: Callable[[str], Any] = str
    if attribute in _WHOLE_NUMBERS:
        convert = int
    elif attribute == "data_url":
        convert = "https://doi.org/{}".format
    # Most values repeat hundreds of times: sharing them saves two thirds of the memory.
    shared = {text: convert(text) if text else None for text in set(column)}
    return [shared[text] for text in column]


def _packaged(name: str) -> bytes:
    try:
        content = pkgutil.get_data(__package__, name)  # ten times as fast as importlib.resources
    except OSError as error:
        raise _damaged(name) from error
    if content is None:
        raise _damaged(name)
    return content


def _damaged(name: str) -> RegistryError:
    return RegistryError(f"the shipped catalog is damaged: {name}", hint=_REINSTALL)
