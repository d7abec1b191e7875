"""Disks that crash at the n-th side effect, lose what was not synced, or pause."""

from __future__ import annotations

import errno
import os
import random
import shutil
import time
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path

from tcia_covid.store.disk import Disk, StrPath


class Crash(BaseException):
    """The machine stops here."""


class CountingDisk(Disk):
    """Counts side effects, and fails or crashes at the n-th; a sync is counted, and nothing else.

    Args:
        at: which side effect, counted from 0; None for never.
        error: the errno to fail with; None to crash.
        halfway: whether the effect happens in part before the crash.
    """

    def __init__(self, at: int | None = None, error: int | None = None, *, halfway: bool = False):
        super().__init__(durable=False)
        self.at = at
        self.error = error
        self.halfway = halfway
        self.count = 0
        self.crashed = False

    def _effect(self) -> bool:
        """Count one side effect; True if it is to happen by half before the crash."""
        if self.crashed and self.error is None:
            raise Crash
        number, self.count = self.count, self.count + 1
        if number != self.at:
            return False
        self.crashed = True
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        if self.halfway:
            return True
        raise Crash

    def make_folder(self, path: Path) -> bool:
        if path.is_dir():
            return False
        if self._effect():
            super().make_folder(path.parent)
            raise Crash
        return super().make_folder(path)

    def make_folders(self, path: Path) -> Iterator[Path]:
        if path.is_dir():
            return
        if self._effect():
            yield from super().make_folders(path.parent)
            raise Crash
        yield from super().make_folders(path)

    def create(self, path: StrPath) -> FileIO:
        if self._effect():
            super().create(path).close()
            raise Crash
        return super().create(path)

    def write(self, file: FileIO, data: bytes) -> None:
        if self._effect():
            super().write(file, data[: len(data) // 2])
            raise Crash
        super().write(file, data)

    def append(self, path: StrPath, data: bytes) -> None:
        if self._effect():
            super().append(path, data[: len(data) // 2])
            raise Crash
        super().append(path, data)

    def sync(self, file: FileIO) -> None:
        self._effect()
        super().sync(file)

    def sync_file(self, path: StrPath) -> None:
        self._effect()
        super().sync_file(path)

    def sync_folder(self, path: StrPath) -> None:
        self._effect()
        super().sync_folder(path)

    def rename(self, source: Path, target: Path) -> None:
        self._effect()
        super().rename(source, target)

    def replace(self, source: StrPath, target: StrPath) -> None:
        self._effect()
        super().replace(source, target)

    def remove(self, path: StrPath) -> None:
        self._effect()
        super().remove(path)

    def remove_folder(self, path: Path) -> None:
        if self._effect():
            for file in sorted(path.iterdir())[:1]:
                super().remove(file)
            raise Crash
        super().remove_folder(path)

    def remove_empty(self, path: Path) -> None:
        self._effect()
        super().remove_empty(path)

    def link(self, source: Path, target: Path) -> None:
        self._effect()
        super().link(source, target)


class PausingDisk(Disk):
    """Pauses before side effects, so that runs side by side meet at every step.

    Args:
        pauses: how long, at random; a third of the effects follow at once.
    """

    def __init__(self, pauses: random.Random) -> None:
        super().__init__(durable=False)
        self._pauses = pauses

    def _pause(self) -> None:
        time.sleep(max(0.0, self._pauses.uniform(-0.001, 0.002)))

    def make_folder(self, path: Path) -> bool:
        self._pause()
        return super().make_folder(path)

    def make_folders(self, path: Path) -> Iterator[Path]:
        self._pause()
        return super().make_folders(path)

    def create(self, path: StrPath) -> FileIO:
        self._pause()
        return super().create(path)

    def sync(self, file: FileIO) -> None:
        self._pause()
        super().sync(file)

    def sync_file(self, path: StrPath) -> None:
        self._pause()
        super().sync_file(path)

    def rename(self, source: Path, target: Path) -> None:
        self._pause()
        super().rename(source, target)

    def replace(self, source: StrPath, target: StrPath) -> None:
        self._pause()
        super().replace(source, target)

    def remove(self, path: StrPath) -> None:
        self._pause()
        super().remove(path)

    def remove_folder(self, path: Path) -> None:
        self._pause()
        super().remove_folder(path)

    def remove_empty(self, path: Path) -> None:
        self._pause()
        super().remove_empty(path)


class PowerLossDisk(CountingDisk):
    """Knows what would survive a power cut: synced content under synced names.

    Args:
        root: what is in it already has been synced.
        at: see `CountingDisk`.
    """

    def __init__(self, root: Path, at: int | None = None) -> None:
        super().__init__(at)
        self._root = root
        self._content: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, int]] = {}
        self._folders: set[int] = {root.stat().st_ino}
        self._moved: set[int] = set()
        self._removed = root.with_name(f"{root.name}~removed")
        """Keeps what was removed, so that no new file gets its inode."""
        self._removed.mkdir()
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            self._note(folder)
            for file in folder.iterdir():
                if file.is_file():
                    self._content[file.stat().st_ino] = file.read_bytes()

    def make_folder(self, path: Path) -> bool:
        missing = _missing(path)
        for folder in missing:
            super().make_folder(folder)
            self._entries[folder.stat().st_ino] = {}
        return bool(missing)

    def make_folders(self, path: Path) -> Iterator[Path]:
        for folder in super().make_folders(path):
            self._entries.setdefault(folder.stat().st_ino, {})
            yield folder

    def sync(self, file: FileIO) -> None:
        super().sync(file)
        self._content[os.fstat(file.fileno()).st_ino] = Path(str(file.name)).read_bytes()

    def sync_file(self, path: StrPath) -> None:
        super().sync_file(path)
        self._content[Path(path).stat().st_ino] = Path(path).read_bytes()

    def sync_folder(self, path: StrPath) -> None:
        super().sync_folder(path)
        self._note(Path(path))

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._moved.add(target.stat().st_ino)

    def replace(self, source: StrPath, target: StrPath) -> None:
        if Path(target).is_file():
            self._bury(Path(target))
        super().replace(source, target)
        self._moved.add(Path(target).stat().st_ino)

    def remove(self, path: StrPath) -> None:
        if Path(path).is_file():
            self._bury(Path(path))
        super().remove(path)

    def remove_folder(self, path: Path) -> None:
        self._effect()
        if path.is_dir():
            path.rename(self._removed / str(path.stat().st_ino))

    def cut_power(self) -> None:
        """Leave on disk only what was synced."""
        survivors = self._survivors(self._root.stat().st_ino)
        shutil.rmtree(self._root)
        shutil.rmtree(self._removed)
        _lay_out(self._root, survivors)

    def _bury(self, path: Path) -> None:
        grave = self._removed / str(path.stat().st_ino)
        if not grave.exists():
            grave.hardlink_to(path)

    def _note(self, folder: Path) -> None:
        """From here on the names in a folder survive."""
        now = {entry.name: entry.inode() for entry in os.scandir(folder)}
        moved = self._moved & set(now.values())
        for names in self._entries.values():  # a rename is in one journal entry, both ends
            for name in [name for name, inode in names.items() if inode in moved]:
                del names[name]
        self._moved -= moved
        self._entries[folder.stat().st_ino] = now
        self._folders |= {entry.inode() for entry in os.scandir(folder) if entry.is_dir()}

    def _survivors(self, inode: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, child in self._entries.get(inode, {}).items():
            is_folder = child in self._folders
            found[name] = self._survivors(child) if is_folder else self._content.get(child, b"")
        return found


def _missing(path: Path) -> list[Path]:
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    return missing[::-1]


def _lay_out(folder: Path, content: dict[str, object]) -> None:
    folder.mkdir(parents=True)
    for name, child in content.items():
        if isinstance(child, dict):
            _lay_out(folder / name, child)
        else:
            assert isinstance(child, bytes)
            (folder / name).write_bytes(child)


DISK_ERRORS: Iterable[int] = (errno.ENOSPC, errno.EIO, errno.EACCES)
