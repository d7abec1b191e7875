"""Unpacking a ZIP of annotations: bounded, checked, and never outside of its folder."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tcia_covid.core.errors import ZipError
from tcia_covid.store.disk import Disk
from tcia_covid.supporting.receipts import Member
from tcia_covid.supporting.sources import safe_file_name, unique_name

MOST_ENTRIES = 10_000
LARGEST = 8 * 1024**3
"""Bytes of all entries together, unpacked."""
_PIECE = 256 * 1024
_ENCRYPTED = 0x1
_DEEPEST = 8
_UNWANTED = ("__MACOSX", ".DS_Store", "Thumbs.db")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OverflowError, ValueError)


def unpack(archive: Path, folder: Path, disk: Disk, tick: Callable[[], None]) -> list[Member]:
    """Unpack a ZIP into a folder of its own; gives what came out, names relative to the folder.

    Names are made safe, part by part; each entry is read to its end, which proves its CRC.

    Args:
        archive: the ZIP.
        folder: does not exist yet; removed again if this fails.
        disk: the seam to the file system.
        tick: called now and then; what it raises ends the unpacking.

    Raises:
        ZipError: it is no ZIP, damaged, too large, or has what does not belong into one.
        OSError: the disk.
    """
    disk.make_folder(folder)
    try:
        with zipfile.ZipFile(archive) as opened:
            return list(_members(opened, archive.name, folder, disk, tick))
    except _BROKEN as error:
        disk.remove_folder(folder)
        raise ZipError(f"{archive.name} is no sound ZIP: {str(error)[:120]}") from error
    except BaseException:
        disk.remove_folder(folder)
        raise


def _members(
    opened: zipfile.ZipFile, name: str, folder: Path, disk: Disk, tick: Callable[[], None]
) -> Iterator[Member]:
    entries = [entry for entry in opened.infolist() if _is_wanted(entry)]
    _check_bounds(entries, name)
    taken: set[str] = set()
    folders: set[str] = set()
    left = LARGEST
    for entry in entries:
        file = _place(entry.filename, taken)
        above = {str(one).casefold() for one in PurePosixPath(file).parents}
        taken.add(file.casefold())
        folders |= above
        if taken & folders:
            raise ZipError(f"{name} has {file} beside a file or folder that takes its place")
        disk.make_folder((folder / file).parent)
        with opened.open(entry) as source:
            size, sha256 = _write(source, folder / file, left, name, disk, tick)
        left -= size
        yield Member(file, size, sha256)


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    parts = entry.filename.replace("\\", "/").split("/")
    return not entry.is_dir() and not any(part in _UNWANTED for part in parts)


def _check_bounds(entries: list[zipfile.ZipInfo], name: str) -> None:
    """Refuse what no archive of annotations is, before anything is unpacked."""
    if len(entries) > MOST_ENTRIES:
        raise ZipError(f"{name} has {len(entries)} entries, more than the {MOST_ENTRIES} it may")
    if sum(entry.file_size for entry in entries) > LARGEST:
        raise ZipError(f"{name} would unpack to more than {LARGEST} bytes")
    for entry in entries:
        if entry.flag_bits & _ENCRYPTED:
            raise ZipError(f"{name} has an encrypted entry")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise ZipError(f"{name} has an entry that is no plain file")


def _place(original: str, taken: set[str]) -> str:
    """Where an entry goes: its path with every part made safe, and unlike all others."""
    parts = [part for part in original.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    safe = [str(safe_file_name(part)) for part in parts[-_DEEPEST:]] or ["unnamed"]
    file = "/".join(safe)
    if file.casefold() in taken:
        names = {PurePosixPath(one).name for one in taken}
        safe[-1] = str(unique_name(safe[-1], original, names | {safe[-1].casefold()}))
        file = "/".join(safe)
    if file.casefold() in taken:
        raise ZipError(f"a ZIP has two entries of the name {file}")
    return file


def _write(
    source: IO[bytes], path: Path, left: int, name: str, disk: Disk, tick: Callable[[], None]
) -> tuple[int, str]:
    sha256 = hashlib.sha256()
    size = 0
    with disk.create(path) as file:
        while piece := source.read(_PIECE):
            tick()
            size += len(piece)
            if size > left:
                raise ZipError(f"{name} unpacks to more than its directory says")
            sha256.update(piece)
            disk.write(file, piece)
    disk.sync_file(path)
    return size, sha256.hexdigest()
