"""Receipts and notes: small JSON files about single series.

A receipt records which images are in the tree and how each was checked. A note passes something
from one run to the next: damage that was found, or why a series failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tcia_covid.core.models import CHECKS, Receipt, Series, StoredImage
from tcia_covid.core.safe_names import is_plain_name, is_reserved
from tcia_covid.store.disk import UNUSABLE_JSON, Disk, read_json

FORMAT = 2
_DICOM = ".dcm"
_SUFFIXES = (_DICOM, ".nii.gz")
_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
"""UIDs, and the names of NIfTI volumes."""
_MD5 = re.compile(r"[0-9a-f]{32}")
_MAX_FOLDER = 2000
"""Characters; no layout makes a folder this long."""
_MAX_FILE_NAME = 255
_MAX_SIZE = 1 << 50
"""Bytes of an image."""


@dataclass(frozen=True, slots=True)
class MovedFrom:
    """Where the images of a series were before `relayout` renamed them."""

    folder: str
    """Relative to the collection's folder, with forward slashes."""
    files: Mapping[str, str]
    """File names that were others, by SOPInstanceUID."""


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt as it is stored."""

    receipt: Receipt
    staged: str
    """The staging folder that the commit publishes; while it exists, that is not finished."""
    replaces: Mapping[str, str] = field(default_factory=dict)
    """MD5 by file of the version before, in the same folder: the commit may replace these."""
    moved_from: MovedFrom | None = None
    """While the staging folder exists, images may still be there."""


class _SeriesFiles:
    """A folder with a JSON file for each of some series."""

    def __init__(self, folder: Path, disk: Disk, temporary: Path) -> None:
        self.folder = folder
        self._disk = disk
        self._temporary = temporary
        # Joining Paths takes as long as reading the file that they lead to.
        self._prefix = os.path.join(folder, "")  # noqa: PTH118

    def path(self, uid: str) -> Path:
        """Where the file of series `uid` is."""
        return Path(self._file(uid))

    def _file(self, uid: str) -> str:
        return f"{self._prefix}{uid}.json"

    def uids(self) -> set[str]:
        """The SeriesInstanceUIDs that have a file."""
        return set(self._uids())

    def is_empty(self) -> bool:
        """Whether no series has a file."""
        return next(self._uids(), None) is None

    def _uids(self) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for name in (entry.name for entry in entries):
                if name.endswith(".json") and _NAME.fullmatch(name[:-5]):
                    yield name[:-5]

    def clear(self, uid: str) -> None:
        """Remove the file of a series."""
        self._disk.remove(self._file(uid))

    def _read(self, uid: str) -> Any:
        return read_json(self._file(uid))

    def _write(self, uid: str, document: object, indent: int | None = None) -> None:
        separators = None if indent else (",", ":")
        text = json.dumps(document, ensure_ascii=False, indent=indent, separators=separators)
        self._disk.make_folder(self.folder)
        self._disk.write_file(self._file(uid), [f"{text}\n".encode()], self._temporary)


class Receipts(_SeriesFiles):
    """The receipts of one collection's folder."""

    def read(self, uid: str) -> StoredReceipt | None:
        """Read a receipt; None if it is missing or damaged."""
        try:
            stored = _from_document(self._read(uid))
        except UNUSABLE_JSON:
            return None
        return stored if stored.receipt.series.uid == uid else None

    def all(self) -> Iterator[Receipt]:
        """Every readable receipt, by SeriesInstanceUID."""
        for uid in sorted(self.uids()):
            stored = self.read(uid)
            if stored is not None:
                yield stored.receipt

    def write(self, stored: StoredReceipt) -> None:
        """Write a receipt.

        A power cut may undo this although the series' folder is safe: the next run then finds a
        folder without a receipt, hashes its images and writes the receipt again.
        """
        self._write(stored.receipt.series.uid, _to_document(stored))


class Notes(_SeriesFiles):
    """Text lines about single series, such as damage."""

    def read(self, uid: str) -> list[dict[str, Any]]:
        """The lines about a series; none if there is no file or it cannot be read."""
        try:
            lines = self._read(uid)
        except (OSError, ValueError):
            return []
        return [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []

    def write(self, uid: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write the lines about a series, in place of older ones."""
        self._write(uid, [dict(line) for line in lines], indent=1)


def _to_document(stored: StoredReceipt) -> dict[str, Any]:
    receipt = stored.receipt
    return {
        "format": FORMAT,
        "series": {k: v for k, v in receipt.series.to_dict().items() if v is not None},
        "folder": receipt.folder,
        "staged": stored.staged,
        **({"replaces": dict(stored.replaces)} if stored.replaces else {}),
        **({"moved_from": asdict(stored.moved_from)} if stored.moved_from else {}),
        "finished": receipt.finished,
        "program": receipt.program,
        **({"headers": dict(receipt.headers)} if receipt.headers is not None else {}),
        "images": [_image_document(image) for image in receipt.images],
    }


def _image_document(image: StoredImage) -> dict[str, Any]:
    # `asdict` takes five times as long.
    document = {"uid": image.uid, "size": image.size, "md5": image.md5}
    document |= {"check": image.check.value, "source": image.source}
    if image.name:
        document["name"] = image.name
    return document if image.suffix == _DICOM else {**document, "suffix": image.suffix}


def _from_document(document: dict[str, Any]) -> StoredReceipt:
    """Read a receipt; nothing in it is trusted, because anyone may have changed the file."""
    if document["format"] != FORMAT:
        raise ValueError(document["format"])
    receipt = Receipt(
        series=Series.from_dict(document["series"]),
        folder=_inside(str(document["folder"])),
        images=tuple(map(_image, document["images"])),
        finished=str(document["finished"]),
        program=str(document["program"]),
        headers=headers if isinstance(headers := document.get("headers"), dict) else None,
    )
    staged = str(document["staged"])
    if not _NAME.fullmatch(receipt.series.uid) or "/" in (staged and _inside(staged)):
        raise ValueError(receipt.series.uid)
    images = receipt.images
    if len({image.uid for image in images}) < len(images):
        raise ValueError("an image is named twice")
    has_names = any(image.name for image in images)
    if has_names and len({image.file.casefold() for image in images}) < len(images):
        raise ValueError("two images have one file")
    replaces = dict(_replaced(document.get("replaces", {})))
    return StoredReceipt(receipt, staged, replaces, _moved_from(document.get("moved_from")))


def _replaced(md5s: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, md5 in md5s.items():
        _check_file_name(name)
        if not _MD5.fullmatch(md5):
            raise ValueError(md5)
        yield name, md5


def _moved_from(document: dict[str, Any] | None) -> MovedFrom | None:
    if document is None:
        return None
    files = dict(document["files"].items())
    for name in files.values():
        _check_file_name(name)
    return MovedFrom(_inside(str(document["folder"])), files)


def _check_file_name(name: str) -> None:
    is_file = is_plain_name(name) and name.endswith(_SUFFIXES)
    if not is_file or len(name) > _MAX_FILE_NAME:
        raise ValueError(name)


def _inside(folder: str) -> str:
    """Return a folder if it is a plain path below the collection's folder."""
    parts = folder.split("/")
    if len(folder) > _MAX_FOLDER or is_reserved(parts[0]) or not all(map(is_plain_name, parts)):
        raise ValueError(folder)
    return folder


def _image(document: dict[str, Any]) -> StoredImage:
    uid, size, md5 = document["uid"], document["size"], document["md5"]
    suffix = document.get("suffix", _DICOM)
    is_name = _NAME.fullmatch(uid) and suffix in _SUFFIXES
    if not (is_name and type(size) is int and 0 <= size <= _MAX_SIZE and _MD5.fullmatch(md5)):
        raise ValueError(uid)
    check, source = CHECKS[document["check"]], str(document["source"])
    name = str(document.get("name", ""))
    if name:
        _check_file_name(name)
    return StoredImage(uid, size, md5, check, source, suffix, name=name)
