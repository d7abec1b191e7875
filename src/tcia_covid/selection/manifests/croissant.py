"""Croissant, the JSON-LD description of a data set, in the two shapes that TCIA publishes.

The first has rows in its record sets (`data`) that lead to manifests; the second has record sets
whose fields are columns of a CSV file. https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from tcia_covid.core.redaction import redact
from tcia_covid.selection.manifests.model import Entries, Manifest, column_kind

_MANIFESTS = (".tcia", ".s5cmd", ".csv", ".tsv", ".xlsx", ".json", ".jsonld", ".txt", ".zip", ".gz")
_LISTS_OF_SERIES = (".tcia", ".s5cmd")


def is_croissant(document: Mapping[str, Any]) -> bool:
    """Whether a JSON document is a Croissant description."""
    if "distribution" not in document and "recordSet" not in document:
        return False
    types = document.get("@type")
    names = types if isinstance(types, list) else [types]
    return any(str(name).casefold().endswith("dataset") for name in names)


def read_croissant(
    document: Mapping[str, Any], entries: Entries, load: Callable[[str, str | None], Manifest]
) -> None:
    """Read the manifests that a description leads to.

    What it describes besides series (Aspera packages, DRS objects, tables) becomes a notice.

    Args:
        document: the description.
        entries: where to add to.
        load: reads the manifest at an address; its second argument is the SHA-256 or None.
    """
    for file in _files(document):
        if file.other:
            entries.notices.append(f"{file.name!r} is {file.other}")
        else:
            entries.include(load(file.url, file.sha256))


@dataclass(slots=True)
class _File:
    """One FileObject."""

    name: str
    url: str
    sha256: str | None
    role: str = ""
    """What the description calls it and its access, in lower case."""
    columns: tuple[str, ...] = ()
    """Of its record sets."""

    @property
    def other(self) -> str:
        """What it is if it is not a manifest of series; else empty."""
        text, shown = f"{self.role} {self.url}".casefold(), redact(self.url) or "without address"
        path = self.url.casefold().partition("?")[0]
        if "aspera" in text or "faspex" in text or "transfer package" in text:
            return f"an Aspera package ({shown}), for IBM's Aspera client"
        if text.startswith("drs:") or " drs:" in text or "drsuri" in self.columns:
            return f"a list of DRS objects ({shown}), which need an account at the NCI"
        if "controlled" in text:
            return f"under controlled access ({shown})"
        if any(map(column_kind, self.columns)) or path.endswith(_LISTS_OF_SERIES):
            return ""
        if "manifest" in self.role and path.endswith(_MANIFESTS):
            return ""
        return f"not a list of series ({shown})"


def _files(document: Mapping[str, Any]) -> Iterator[_File]:
    """The files of a description, each with what its record sets say about it."""
    base = _text(_mapping(document.get("@context")).get("@base"))
    files: dict[str, _File] = {}
    for item in _list(document.get("distribution")):
        address = _text(item.get("contentUrl"))
        files[_text(item.get("@id")) or address] = _File(
            _text(item.get("name")) or address,
            urljoin(base, address),
            _text(item.get("sha256")) or None,
            _properties(item),
        )
    for record_set in _list(document.get("recordSet")):
        for field in _list(record_set.get("field")):
            source = _mapping(field.get("source"))
            file = files.get(_text(_mapping(source.get("fileObject")).get("@id")))
            if file is not None:
                column = _text(_mapping(source.get("extract")).get("column"))
                file.columns += (re.sub(r"[\W_]", "", column).casefold(),)
        for row in _list(record_set.get("data")):
            values = {key.rpartition("/")[2]: _text(value) for key, value in row.items()}
            address = values.get("download_url") or values.get("content_url") or ""
            known = files.get(values.get("file_object_id", ""))
            known = known or next((file for file in files.values() if file.url == address), None)
            if known is None:
                known = files[address] = _File(_text(record_set.get("name")), address, None)
            known.role += " " + " ".join(values.get(key, "") for key in _ROLES).casefold()
    yield from files.values()


_ROLES = ("download_artifact_role", "access_mechanism", "access_level", "downstream_access_system")


def _properties(item: Mapping[str, Any]) -> str:
    """What TCIA's properties of a FileObject say about access, in lower case."""
    properties = _list(item.get("additionalProperty"))
    wanted = [
        _text(found.get("value"))
        for found in properties
        if re.search(r"role|mechanism|access level|access system", _text(found.get("name")).lower())
    ]
    return " ".join(wanted).casefold()


def _list(value: Any) -> list[Mapping[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, Mapping)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    """A text, or the first of the texts by language."""
    if isinstance(value, Mapping):
        value = next(iter(value.values()), "")
    return value.strip() if isinstance(value, str) else ""
