"""Receipts of supporting files: what each is, where it came from, how it was checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from tcia_covid.core.safe_names import is_plain_name
from tcia_covid.formats.hashes import hash_file
from tcia_covid.store.disk import UNUSABLE_JSON, read_json
from tcia_covid.store.tree import Tree

_FORMAT = 1
FOLDER = "supporting"
"""Of the files in the collection's folder, and of their receipts in its state folder."""


class FileCheck(str, Enum):
    """How a supporting file was checked; ordered strongest first."""

    SHA256 = "sha256"
    """It has the recorded SHA-256."""
    SIZE = "size"
    """It has the recorded size; no hash is recorded."""
    NONE = "unchecked"
    """Neither is recorded: the file is what the server sent."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file that was unpacked."""

    file: str
    """Relative to the folder of supporting files, with forward slashes."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileReceipt:
    """A supporting file: its source, its size and hash, and how it was checked."""

    key: str
    """Identifies it in the registry or in the site's list."""
    file: str
    """Its name in the folder of supporting files."""
    original: str
    """Its name as published."""
    title: str
    kind: str
    source: str
    """`registry` or `site`: where its address is from."""
    url: str
    """Without the query, which may have a signature."""
    size: int
    sha256: str
    check: FileCheck
    finished: str
    """UTC, ISO 8601."""
    program: str
    members: tuple[Member, ...] = ()
    """What a ZIP was unpacked to."""

    @property
    def all_files(self) -> tuple[Member, ...]:
        """All files of the receipt: the downloaded one and what was unpacked."""
        return (Member(self.file, self.size, self.sha256), *self.members)


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that differs from its receipt."""

    file: str
    """Relative to the collection's folder, with forward slashes."""
    detail: str = ""
    is_missing: bool = False


class FileReceipts:
    """The receipts of one collection's supporting files."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.files = tree.root / FOLDER
        self.folder = tree.state / FOLDER

    def all(self) -> Iterator[FileReceipt]:
        """Every readable receipt, by file name."""
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            try:
                yield _read(read_json(path))
            except UNUSABLE_JSON:
                continue

    def find(self, key: str) -> FileReceipt | None:
        """The receipt of a file, by its key."""
        return next((receipt for receipt in self.all() if receipt.key == key), None)

    def write(self, receipt: FileReceipt) -> None:
        """Put a receipt in place of the file's last one."""
        document = {"format": _FORMAT, **asdict(receipt)}
        text = json.dumps(document, indent=1, ensure_ascii=False)
        self._tree.disk.make_folder(self.folder)
        self._tree.write_file(self.folder / f"{receipt.file}.json", text.encode())

    def differing(self, receipt: FileReceipt) -> Iterator[Difference]:
        """The files that differ from a receipt; each is hashed."""
        for member in receipt.all_files:
            file = f"{FOLDER}/{member.file}"
            try:
                content = hash_file(self.files / member.file, "sha256")
            except FileNotFoundError:
                yield Difference(file, is_missing=True)
            except OSError as error:
                yield Difference(file, error.strerror or str(error))
            else:
                if content != (member.size, member.sha256):
                    yield Difference(file, "its bytes are not those of its receipt")


def _read(document: dict[str, Any]) -> FileReceipt:
    """Read a receipt; nothing in it is trusted, because anyone may have changed the file."""
    if document.pop("format") != _FORMAT:
        raise ValueError
    document["check"] = FileCheck(document["check"])
    document["members"] = tuple(Member(**member) for member in document["members"])
    receipt = FileReceipt(**document)
    for name in (receipt.file, *(member.file for member in receipt.members)):
        if not all(map(is_plain_name, name.split("/"))):
            raise ValueError(name)
    if "/" in receipt.file or not isinstance(receipt.size, int):
        raise ValueError(receipt.file)
    return receipt
