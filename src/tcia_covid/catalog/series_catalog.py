"""Reads the shipped catalog: one gzipped table a collection, one line a series.

`catalog.json` says what it was built from and what each table holds. The tables are plain
text, so `zcat covid-19-ar.tsv.gz` shows what the program knows; `scripts/build_catalog.py`
makes all of it. A table is read when its collection is first asked for, and then kept.
"""

from __future__ import annotations

import gzip
import json
import pkgutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from sys import intern

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
"""The first line of every table. The names are IDC's; an empty field means not recorded."""
_LICENSE_URLS = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-NC 4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
}
_REINSTALL = "install tcia-covid again"


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """What the catalog holds of one collection."""

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
    """What the catalog was built from, when, and what it holds."""

    version: str
    """Version of the package `idc-index-data`."""
    idc_version: str
    """The release of IDC that this version describes."""
    built: str
    """The day it was built, `yyyy-mm-dd`."""
    entries: tuple[CatalogEntry, ...]

    @property
    def series(self) -> int:
        """Series of all collections."""
        return sum(one.series for one in self.entries)


@cache
def info() -> CatalogInfo:
    """What the catalog was built from and what it holds, without reading any table.

    Raises:
        RegistryError: the installed catalog is damaged.
    """
    try:
        document = json.loads(_packaged(INDEX))
        entries = tuple(CatalogEntry(**one) for one in document.pop("entries"))
        return CatalogInfo(**document, entries=entries)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(INDEX) from error


def entry(collection: str) -> CatalogEntry | None:
    """What the catalog holds of `collection` (TCIA's name, as TCIA spells it), if anything."""
    return next((one for one in info().entries if one.collection == collection), None)


def has(collection: str) -> bool:
    """Whether the series of `collection` (TCIA's name, as TCIA spells it) are listed."""
    return entry(collection) is not None


def load(collection: str) -> list[Series]:
    """Every series of `collection`, ordered by patient, study, number and UID.

    Raises:
        UnknownCollectionError: the catalog does not have it; ask `has` first.
        RegistryError: the installed catalog is damaged.
    """
    return list(_table(collection))


def find(uids: Iterable[str]) -> dict[str, Series]:
    """The series with these SeriesInstanceUIDs, in the order given; unknown ones are absent.

    Reads as few tables as it takes, small ones first.
    """
    wanted = dict.fromkeys(uids)
    found: dict[str, Series] = {}
    for one in sorted(info().entries, key=lambda one: one.series):
        if len(found) == len(wanted):
            break
        found.update(
            (series.uid, series) for series in _table(one.collection) if series.uid in wanted
        )
    return {uid: found[uid] for uid in wanted if uid in found}


@cache
def _table(collection: str) -> tuple[Series, ...]:
    one = entry(collection)
    if one is None:
        raise UnknownCollectionError(f"the catalog does not list the collection {collection!r}")
    try:
        header, *lines = gzip.decompress(_packaged(one.file)).decode().splitlines()
        if header != "\t".join(COLUMNS) or len(lines) != one.series:
            raise _damaged(one.file)
        return tuple(_series(collection, line) for line in lines)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise _damaged(one.file) from error


def _series(collection: str, line: str) -> Series:
    (
        uid, patient, study, modality, body_part, date, study_date, description, study_description,
        number, manufacturer, model, images, size, license, doi, bucket, crdc_uuid,
    ) = line.split("\t")  # fmt: skip
    # Most values repeat thousands of times: interned, the whole catalog takes a third.
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
        content = pkgutil.get_data(__package__, name)  # a tenth of importlib.resources' start-up
    except OSError as error:
        raise _damaged(name) from error
    if content is None:
        raise _damaged(name)
    return content


def _damaged(name: str) -> RegistryError:
    return RegistryError(f"the shipped catalog is damaged: {name}", hint=_REINSTALL)
