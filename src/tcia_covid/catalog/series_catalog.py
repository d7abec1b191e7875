"""Reads the shipped catalog: one gzipped table per collection, one line per series.

`catalog.json` tells its source and the totals of each table. The tables are plain text
(`zcat covid-19-ar.tsv.gz`); `scripts/build_catalog.py` writes all of it. A table is read when its
collection is first used, and then cached.
"""

from __future__ import annotations

import gzip
import json
import operator
import pkgutil
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from sys import intern
from typing import NamedTuple

from tcia_covid.core.errors import RegistryError, UnknownCollectionError
from tcia_covid.core.models import Series

INDEX = "catalog.json"
COLUMNS = (
    "SeriesInstanceUID",
    "PatientID",
    "StudyInstanceUID",
    "Modality",
    "BodyPartExamined",
    "SeriesDate",
    "StudyDate",
    "SeriesDescription",
    "StudyDescription",
    "SeriesNumber",
    "Manufacturer",
    "ManufacturerModelName",
    "instanceCount",
    "series_size_bytes",
    "license_short_name",
    "source_DOI",
    "aws_bucket",
    "crdc_series_uuid",
)
"""The first line of every table, with IDC's names; an empty field means not recorded."""
IDENTIFIERS = ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "crdc_series_uuid")
"""The columns by which series are looked up."""
_POSITIONS = {name: COLUMNS.index(name) for name in IDENTIFIERS}
_LICENSE_URLS = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC 4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
}
_REINSTALL = "install tcia-covid again"


@dataclass(frozen=True, slots=True)
class CatalogEntry:
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


@dataclass(frozen=True, slots=True)
class CatalogInfo:
    """The source, date and totals of the catalog."""

    version: str
    """Version of the package `idc-index-data`."""
    idc_version: str
    """The release of IDC."""
    built: str
    """The day of the build, `yyyy-mm-dd`."""
    entries: tuple[CatalogEntry, ...]

    @property
    def series(self) -> int:
        """Series of all collections."""
        return sum(entry.series for entry in self.entries)


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
    found = ((uid, lookup(uid, ("SeriesInstanceUID",))) for uid in dict.fromkeys(uids))
    return {uid: match.series[0] for uid, match in found if match}


def lookup(identifier: str, columns: Iterable[str] = IDENTIFIERS) -> Match | None:
    """Find the series of a SeriesInstanceUID, StudyInstanceUID, PatientID or crdc_series_uuid.

    Small tables are read first, and only as far as is needed. Case does not matter.

    Args:
        identifier: one of these.
        columns: what it may be.
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
            return Match(column, [_series(listed.collection, lines[row]) for row in rows])
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
    return tuple(_series(collection, line) for line in _lines(collection))


@cache
def _lines(collection: str) -> list[str]:
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


def _series(collection: str, line: str) -> Series:
    (
        uid, patient, study, modality, body_part, date, study_date, description, study_description,
        number, manufacturer, model, images, size, license, doi, bucket, crdc_uuid,
    ) = line.split("\t")  # fmt: skip
    # Most values repeat thousands of times: interning saves two thirds of the memory.
    return Series(
        uid=uid,
        collection=collection,
        patient=intern(patient),
        study=intern(study),
        modality=intern(modality) or None,
        body_part=intern(body_part) or None,
        description=intern(description) or None,
        number=int(number) if number else None,
        date=intern(date) or None,
        study_date=intern(study_date) or None,
        study_description=intern(study_description) or None,
        manufacturer=intern(manufacturer) or None,
        manufacturer_model=intern(model) or None,
        image_count=int(images),
        size=int(size),
        license=intern(license),
        license_url=_LICENSE_URLS.get(license),
        data_url=intern(f"https://doi.org/{doi}"),
        bucket=intern(bucket),
        crdc_uuid=crdc_uuid,
    )


def _packaged(name: str) -> bytes:
    try:
        content = pkgutil.get_data(__package__, name)  # ten times faster than importlib.resources
    except OSError as error:
        raise _damaged(name) from error
    if content is None:
        raise _damaged(name)
    return content


def _damaged(name: str) -> RegistryError:
    return RegistryError(f"the shipped catalog is damaged: {name}", hint=_REINSTALL)
