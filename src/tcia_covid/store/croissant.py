"""`croissant.json`: a collection's folder as a data set, for programs that load data sets.

Croissant 1.0: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tcia_covid.catalog.citation import format_citation
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.units import count, format_size

_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
"""Words of Croissant."""
_CONTEXT: Mapping[str, object] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}
"""The context that the specification prescribes."""
_INTEGERS = ("Number of Images", "Bytes")
_SERIES_UID = "Series UID"


@dataclass(frozen=True, slots=True)
class DescribedFile:
    """A file of the data set."""

    name: str
    encoding: str
    """Its media type."""
    about: str
    size: int
    """Bytes."""
    sha256: str


@dataclass(slots=True)
class Contents:
    """What is complete in the folder."""

    series: int = 0
    images: int = 0
    size: int = 0
    """Bytes of the images."""


def croissant(
    collection: Collection,
    registry: Registry,
    contents: Contents,
    table: str,
    columns: Iterable[str],
    files: Iterable[DescribedFile],
) -> bytes:
    """The content of `croissant.json`: the complete series of a folder as a record set.

    `table` is the name of the file that has one row per series, and these columns. `files` are the
    report files, `table` among them; addresses are relative to the description.
    """
    title = collection.title if collection.title != collection.name else ""
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": collection.name,
        "description": " ".join(filter(None, (title and f"{title}.", _summary(contents)))),
        "license": collection.license and (collection.license.url or collection.license.name),
        "url": collection.page or (f"https://doi.org/{collection.doi}" if collection.doi else None),
        "version": collection.version,
        "datePublished": collection.updated,
        "citeAs": format_citation(collection, registry, "bibtex"),
        "distribution": [_file_object(file) for file in files],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "series",
                "name": "series",
                "description": "One record per complete series.",
                "key": {"@id": _field_id(_SERIES_UID)},
                "field": [_field(table, column) for column in columns],
            }
        ],
    }
    known = {key: value for key, value in document.items() if value is not None}
    return f"{json.dumps(known, indent=2, ensure_ascii=False)}\n".encode()


def _summary(contents: Contents) -> str:
    """What the folder has of the collection."""
    return (
        f"This folder has {count(contents.series, 'series')} of the collection, each complete: "
        f"{count(contents.images, 'image')}, {format_size(contents.size)}."
    )


def _file_object(file: DescribedFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "description": file.about,
        "contentUrl": file.name,
        "contentSize": f"{file.size} B",
        "encodingFormat": file.encoding,
        "sha256": file.sha256,
    }


def _field_id(column: str) -> str:
    """The identifier of a field, without the spaces of its column: mlcroissant refuses them."""
    return f"series/{column.replace(' ', '_')}"


def _field(table: str, column: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": _field_id(column),
        "name": column,
        "description": f"The column {column!r} of {table}.",
        "dataType": "sc:Integer" if column in _INTEGERS else "sc:Text",
        "source": {"fileObject": {"@id": table}, "extract": {"column": column}},
    }
