"""`manifest-md5.txt`: `md5sum -c manifest-md5.txt` proves a collection without this program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcia_covid.model import Receipt


def manifest(receipts: Iterable[Receipt]) -> Iterator[bytes]:
    """The file's content: a line an image, the MD5, two blanks, the file relative to the manifest.

    No name in the tree has a character that `md5sum` would spell differently.
    """
    for receipt in receipts:
        lines = [f"{image.md5}  {receipt.folder}/{image.file}\n" for image in receipt.images]
        yield "".join(lines).encode()
