"""Unpacking a ZIP of annotations: bounded, checked, and never outside of its folder."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from tcia_covid.core.errors import ZipError
from tcia_covid.store.disk import Disk
from tcia_covid.supporting.receipts import Member
from tcia_covid.supporting.sources import safe_file_name, unique_name

MAX_ENTRIES = 10_000
MAX_SIZE = 8 * 1024**3
"""Bytes of all entries together, unpacked."""
_BLOCK_SIZE = 256 * 1024
_ENCRYPTED = 0x1
_MAX_DEPTH = 8
_UNWANTED = ("__MACOSX", ".DS_Store", "Thumbs.db")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OverflowError, ValueError)


def unpack(
    archive: Path,
    folder: Path,
    disk: Disk,
    tick: Callable[[], None],
    *,
    max_size: int = MAX_SIZE,
) -> list[Member]:
    """Unpack a ZIP into a folder of its own; return the files, named relative to the folder.

    Each part of a name is made safe; each entry is read to its end, which checks its CRC. The
    folder does not exist yet, and is removed again if this fails. `tick` is called for each block;
    what it raises ends the unpacking. `max_size` is for all entries together, unpacked.

    Raises:
        ZipError: it is not a ZIP file, damaged, too large, or has unsupported entries.
        OSError: the disk.
    """
    disk.make_folder(folder)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if _is_wanted(entry)]
            _check_bounds(entries, archive.name, max_size)
            members = []
            for file, entry in _places(entries, archive.name).items():
                disk.make_folder((folder / file).parent)
                with opened.open(entry) as source:
                    size, sha256 = _write(source, folder / file, max_size, disk, tick)
                max_size -= size
                members.append(Member(file, size, sha256))
            return members
    except _BROKEN as error:
        disk.remove_folder(folder)
        raise ZipError(f"{archive.name} is not an intact ZIP file: {str(error)[:120]}") from error
    except BaseException:
        disk.remove_folder(folder)
        raise


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    parts = entry.filename.replace("\\", "/").split("/")
    return not entry.is_dir() and not any(part in _UNWANTED for part in parts)


def _check_bounds(entries: list[zipfile.ZipInfo], name: str, max_size: int) -> None:
    """Refuse a ZIP that is too large or has unsupported entries, before anything is unpacked."""
    if len(entries) > MAX_ENTRIES:
        raise ZipError(f"{name} has {len(entries)} entries, more than the limit of {MAX_ENTRIES}")
    if sum(entry.file_size for entry in entries) > max_size:
        raise ZipError(f"{name} would unpack to more than {max_size} bytes")
    for entry in entries:
        if entry.flag_bits & _ENCRYPTED:
            raise ZipError(f"{name} has an encrypted entry")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise ZipError(f"{name} has an entry that is not a regular file")


def _places(entries: list[zipfile.ZipInfo], name: str) -> dict[str, zipfile.ZipInfo]:
    """The entries by their paths in the folder: safe, and unique where case is ignored."""
    places: dict[str, zipfile.ZipInfo] = {}
    taken: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        file = _place(entry.filename, taken)
        taken.add(file.casefold())
        folders |= {str(parent).casefold() for parent in PurePosixPath(file).parents}
        if taken & folders:
            raise ZipError(f"{name} has {file} and a file or folder that takes its place")
        places[file] = entry
    return places


def _place(original: str, taken: set[str]) -> str:
    parts = [part for part in original.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    safe = [safe_file_name(part) for part in parts[-_MAX_DEPTH:]] or ["unnamed"]
    file = "/".join(safe)
    if file.casefold() in taken:
        names = {PurePosixPath(name).name for name in taken}
        safe[-1] = unique_name(safe[-1], original, names | {safe[-1].casefold()})
        file = "/".join(safe)
    if file.casefold() in taken:
        raise ZipError(f"a ZIP has two entries of the name {file}")
    return file


def _write(
    source: IO[bytes], path: Path, max_size: int, disk: Disk, tick: Callable[[], None]
) -> tuple[int, str]:
    sha256, size = hashlib.sha256(), 0
    with disk.create(path) as file:
        while block := source.read(_BLOCK_SIZE):
            tick()
            size += len(block)
            if size > max_size:
                raise ZipError("a ZIP unpacks to more than its central directory says")
            sha256.update(block)
            disk.write(file, block)
        disk.sync(file)
    return size, sha256.hexdigest()
