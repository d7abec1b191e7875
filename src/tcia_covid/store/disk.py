"""All file-system writes, and the errors for the user behind their failures."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from functools import cache, cached_property, partial
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from tcia_covid.core.errors import (
    DestinationError,
    FileInUseError,
    NoSpaceError,
    PermissionDeniedError,
    TakenOverError,
)
from tcia_covid.core.files import Chunk, open_own, open_regular
from tcia_covid.core.limits import limit_error
from tcia_covid.store import windows
from tcia_covid.store.windows import (
    clear_read_only,
    excess_length,
    file_in_use,
    folder_not_empty,
)

StrPath = str | os.PathLike[str]
"""A path, as text where many are made."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT})
_IN_THE_WAY = {errno.EISDIR, errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.EXDEV}
_TOO_LONG = 206
"""The error number on Windows; Python reports a missing file instead."""
_INVALID_NAME = frozenset({123, 267})
"""The error numbers on Windows for a file or folder name."""
_SHORT_PATH = 248
"""Windows accepts no longer folder path unless long paths are enabled."""
_FEW_INODES = 16
_SOME_SPACE = 1024 * 1024
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
_NO_FOLDER_SYNC = _NO_SYNC | {errno.EACCES, errno.EBADF, errno.EISDIR}
_NOT_DURABLE = (
    "the file system cannot force data to the disk (fsync): after a power cut, check the files "
    "with 'tcia-covid verify'"
)
_FICLONE = 0x40049409
"""ioctl_ficlone(2); Python has no name for it."""
_START_WRITING = 2
"""SYNC_FILE_RANGE_WRITE of sync_file_range(2): write all that has changed, wait for nothing."""
if sys.platform == "linux":
    import fcntl

if sys.platform == "win32":
    import socket

    machine_name = socket.gethostname
else:

    def machine_name() -> str:
        """The same as `socket.gethostname`; importing `socket` takes time."""
        return os.uname().nodename


_MACHINE = machine_name()[:32].replace("~", "-")
_A_DAY = 24 * 3600.0
_BINARY = getattr(os, "O_BINARY", 0)
"""Without it, Windows changes line ends."""
_MAX_STATE_SIZE = 32 * 1024 * 1024
"""Bytes; a receipt of 200,000 images is smaller."""
UNUSABLE_JSON = (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What using a JSON file may raise that is missing or was changed."""


class Disk:
    """All file-system writes; replaced in tests to inject faults.

    All methods raise `OSError` as the system does; `destination_errors` turns those that end a run
    into errors for the user.

    Args:
        durable: whether `sync_*` force data to the disk. With False, a power cut may
            damage a series in the tree; nothing else changes.
    """

    in_use_waits = (0.05, 0.1, 0.2, 0.4, 0.8)
    """Seconds; a virus scanner has new files open, and Windows then renames neither these nor
    their folder."""
    sync_flags = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY
    """Windows syncs only what is open for writing; elsewhere the file may be read-only."""

    def __init__(self, *, durable: bool = True) -> None:
        self.durable = durable
        self.notices: list[str] = []
        """Messages to the user, each once."""

    @cached_property
    def has_short_paths(self) -> bool:
        """Whether programs can open no paths longer than 259 characters."""
        return windows.paths_are_short()

    def can_open(self, path: StrPath) -> bool:
        """Whether a file's path is short enough for every program."""
        return not self.has_short_paths or excess_length(path) <= 0

    def make_folder(self, path: Path) -> bool:
        """Make a folder and its parents, for work that a power cut may undo; whether it is new."""
        if path.is_dir():  # quicker than `mkdir` that fails
            return False
        path.mkdir(parents=True, exist_ok=True)
        return True

    def make_folders(self, path: Path) -> Iterator[Path]:
        """Make a folder and its parents, one at each step; gives those that were missing.

        They may not be durable in their own parents.
        """
        missing = []
        while not path.is_dir() and path != path.parent:  # the parent of a missing drive is itself
            missing.append(path)
            path = path.parent
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
            yield folder

    def make_lasting_folder(self, path: Path) -> None:
        """Make a folder and its parents, each durable in its own parent."""
        for folder in self.make_folders(path):
            self.sync_folder(folder.parent)

    def create(self, path: StrPath) -> FileIO:
        """Open a new file for unbuffered writing; fails if it exists, or is a link."""
        return FileIO(path, "xb")

    def open_existing(self, path: StrPath, mode: Literal["ab", "r+b"]) -> FileIO:
        """Open a file of this program for unbuffered writing, never through a link (`open_own`)."""
        return FileIO(path, mode, opener=open_own)

    def write(self, file: FileIO, data: Chunk) -> None:
        """Write all of `data`: an unbuffered write may be short without an error."""
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]

    def append(self, path: StrPath, data: bytes) -> None:
        """Add to the end of a file, or create it."""
        with self.open_existing(path, "ab") as file:
            self.write(file, data)

    def start_sync(self, file: FileIO) -> None:
        """Begin to force an open file's content to the disk, where the system can (Linux).

        By the time several files are synced, most of their content is on the disk: ext4 then
        commits its journal a tenth as often.
        """
        if self.durable and (start_writing := _sync_file_range()) is not None:
            start_writing(file.fileno(), 0, 0, _START_WRITING)  # the sync reports its errors

    def sync(self, file: FileIO) -> None:
        """Force an open file's content to the disk; where the system cannot, note that once."""
        if self.durable:
            self._note_unless(_sync(file.fileno(), _NO_SYNC))

    def sync_file(self, path: StrPath) -> None:
        """The same as `sync`, for a file that is not open."""
        if self.durable:
            self._note_unless(_sync_and_close(self._open_to_sync(path), _NO_SYNC))

    def sync_folder(self, path: StrPath) -> None:
        """Force a folder's entries to the disk, where the system can."""
        if self.durable and sys.platform != "win32":
            _sync_and_close(os.open(path, os.O_RDONLY | os.O_DIRECTORY), _NO_FOLDER_SYNC)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a folder.

        Raises:
            FileExistsError: `target` is a folder with content.
        """
        try:
            self._retry_while_in_use(lambda: os.rename(source, target))  # noqa: PTH104
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error

    def replace(self, source: StrPath, target: StrPath) -> None:
        """Rename a file over another."""
        self._retry_while_in_use(lambda: os.replace(source, target), target)  # noqa: PTH105

    def remove(self, path: StrPath) -> None:
        """Remove a file; it may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            self._retry_while_in_use(lambda: os.unlink(path), path)  # noqa: PTH108 - a name, not a Path

    def remove_folder(self, path: Path) -> None:
        """Remove a folder with all its content; it may be gone already."""
        try:
            self._retry_while_in_use(lambda: self._remove_tree(path), path)
        except OSError as error:
            # Windows gives various errors for a folder that another run removes at this moment.
            if os.path.lexists(error.filename or path):
                raise

    def remove_empty(self, path: Path) -> None:
        """Remove a folder if nothing is in it."""
        with contextlib.suppress(OSError):
            path.rmdir()

    def link(self, source: Path, target: Path) -> None:
        """Make a hard link, where the file system can."""
        os.link(source, target)

    def reflink(self, source: Path, target: Path) -> None:
        """Make a copy that shares the blocks of another file, where the file system can."""
        part = target.with_name(f".{target.name}.part")
        try:
            with FileIO(source, opener=open_regular) as origin, self.create(part) as file:
                self.clone(origin.fileno(), file.fileno())
            self.replace(part, target)
        except OSError:
            self.remove(part)
            raise

    def clone(self, source: int, target: int) -> None:
        """Make the open file `target` share the blocks of `source`, where the system can."""
        if sys.platform == "linux":
            fcntl.ioctl(target, _FICLONE, source)
        else:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    def write_file(self, path: StrPath, content: Iterable[bytes], temporary: Path) -> None:
        """Write a whole file; see `replacing`."""
        with self.replacing(path, temporary) as write:
            for block in content:
                write(block)

    @contextmanager
    def replacing(self, path: StrPath, temporary: Path) -> Iterator[Callable[[bytes], None]]:
        """Give a function that writes to a new file, which is put in place if no error occurs.

        A reader sees the old content or the new one. The file may not survive a power cut: only
        files that can be written again are written in this way. The new file is in the folder
        `temporary` until then, which is on the same file system.
        """
        self.make_folder(temporary)
        part = temporary / f"{_MACHINE}~{os.getpid()}~{os.urandom(4).hex()}.part"
        try:
            with self.create(part) as file:
                yield partial(self.write, file)
                self.sync(file)
            self.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(part)
            raise

    def remove_abandoned(self, temporary: Path) -> None:
        """Remove what `replacing` left in the folder `temporary` in runs that are gone."""
        for part in temporary.glob("*.part"):
            with contextlib.suppress(OSError, ValueError):
                machine, process, _ = part.name.split("~")
                old = time.time() - part.stat().st_mtime > _A_DAY
                if old or (machine == _MACHINE and not _is_alive(int(process))):
                    self.remove(part)

    def _remove_tree(self, path: Path) -> None:
        try:
            shutil.rmtree(path)
        except OSError as error:
            if not (folder := folder_not_empty(error)):
                raise
            # Not what is in there: it may be a new file of another program.
            self._retry_while_in_use(lambda: os.rmdir(folder), in_use=folder_not_empty)  # noqa: PTH106
            self._remove_tree(path)

    def _note_unless(self, is_synced: bool) -> None:  # noqa: FBT001
        if not is_synced and _NOT_DURABLE not in self.notices:
            self.notices.append(_NOT_DURABLE)

    def _open_to_sync(self, path: StrPath) -> int:
        try:
            return open_regular(os.fspath(path), self.sync_flags)
        except PermissionError:
            if not clear_read_only(path):
                raise
            try:
                return open_regular(os.fspath(path), self.sync_flags)
            finally:
                os.chmod(path, stat.S_IREAD)  # noqa: PTH101

    def _retry_while_in_use(
        self,
        act: Callable[[], None],
        removed: StrPath | None = None,
        in_use: Callable[[OSError], str] = file_in_use,
    ) -> None:
        """Call a function; where Windows refuses because of an open file, again for a short time.

        The read-only attributes of what it removes or replaces (`removed`) are cleared. `in_use`
        gives the file or folder behind an error, or nothing if it has another reason.
        """
        waits = iter(self.in_use_waits)
        while True:
            try:
                return act()
            except OSError as error:
                place = in_use(error)
                is_removed = place and removed is not None and Path(place).is_relative_to(removed)
                if is_removed and clear_read_only(place):
                    continue
                wait = next(waits, None)
                if not place or wait is None:
                    raise
            time.sleep(wait)


def _sync(handle: int, unsupported: Set[int]) -> bool:
    """Sync an open file; False if the system cannot, with one of these errors."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in unsupported:
            raise
        return False
    return True


def _sync_and_close(handle: int, unsupported: Set[int]) -> bool:
    try:
        return _sync(handle, unsupported)
    finally:
        os.close(handle)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """sync_file_range(2) of the C library, which Python does not have; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes  # noqa: PLC0415 - needed by downloads alone, and missing from some builds

        library = ctypes.CDLL(None)
        offset = ctypes.c_int64
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, offset, offset, ctypes.c_uint)
        return kind(("sync_file_range", library))
    except (ImportError, OSError, AttributeError, MemoryError):  # the last: hardened systems
        return None


def read_state(path: StrPath) -> bytes:
    """Read a small file of the state folder; anyone may have written it.

    Raises:
        OSError: it cannot be read, is a link or no regular file, or is too large.
    """
    handle = open_own(os.fspath(path), os.O_RDONLY | _BINARY)
    try:
        size = os.fstat(handle).st_size
        if size > _MAX_STATE_SIZE:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        data = os.read(handle, size + 1)  # a file object makes twice as many system calls
        while len(data) < size and (more := os.read(handle, size - len(data))):
            data += more
    finally:
        os.close(handle)
    return data


def parse_json(data: bytes) -> Any:
    """Parse JSON that anyone may have written.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError(str(error)) from error


def read_json(path: StrPath) -> Any:
    """Read a small JSON file of the state folder.

    Raises:
        OSError: see `read_state`.
        ValueError: see `parse_json`.
    """
    return parse_json(read_state(path))


def succeeded(act: Callable[[], object]) -> bool:
    """Call a function for which there is an alternative; False if the system refuses it."""
    try:
        act()
    except OSError:
        return False  # the alternative fails, too, if the disk does not work
    return True


@contextmanager
def destination_errors(what: str) -> Iterator[None]:
    """Convert OSErrors into errors for the user, except that a file is missing.

    Args:
        what: the folder or file concerned, for the sentence.

    Raises:
        NoSpaceError: the file system, the quota or the allowed file size is used up.
        PermissionDeniedError: writing is not allowed, or something else is in the way.
        FileInUseError: another program has a file open.
        DestinationError: any other I/O error.
    """
    try:
        yield
    except OSError as error:
        if is_missing(error):
            raise
        if place := file_in_use(error):
            raise FileInUseError(place) from error
        raise destination_error(error, what) from error


def is_missing(error: OSError) -> bool:
    """Whether a file or folder is missing, rather than its path too long."""
    return isinstance(error, FileNotFoundError) and not _is_too_long(error)


def _is_too_long(error: OSError) -> bool:
    if error.errno == errno.ENAMETOOLONG or getattr(error, "winerror", None) == _TOO_LONG:
        return True
    names = (error.filename, error.filename2)
    return windows.paths_are_short() and any(
        len(str(Path(name).absolute())) >= _SHORT_PATH
        for name in names
        if isinstance(name, (str, Path))
    )


def _in_the_way_error(error: OSError, what: str, place: str | Path) -> DestinationError:
    """A file is where a folder must be, or the other way around."""
    file = next((path for path in (Path(place), *Path(place).parents) if path.is_file()), None)
    if error.errno == errno.ENOTDIR and file is not None:
        return PermissionDeniedError(
            f"cannot write to {what}: {file} is a file, not a folder",
            hint="choose another folder with --output, or move away that file",
        )
    hint = "move away what is there; if it is a link, make its target available again"
    return PermissionDeniedError(f"cannot write to {place}: {error.strerror}", hint=hint)


def destination_error(error: OSError, what: str) -> DestinationError:
    """The error for the user behind an `OSError` about `what`."""
    if error.errno in _FULL:
        return _no_space_error(error.errno, what)
    if (limit := limit_error(error)) is not None:
        return limit
    if _is_too_long(error):
        return DestinationError(
            f"a path in {what} is too long for this system",
            hint="choose a folder with a shorter path with --output, or enable Windows' long paths",
        )
    if error.errno in _IN_THE_WAY and (place := error.filename2 or error.filename):
        return _in_the_way_error(error, what, place)
    if error.errno in _REFUSED or isinstance(error, (FileExistsError, PermissionError)):
        return PermissionDeniedError(
            f"cannot write to {what}: {error.strerror or error}",
            hint="check the folder's permissions, or choose another one with --output",
        )
    return DestinationError(
        f"I/O error on {what}: {error.strerror or error}",
        hint="check the file system, then run the same command again",
    )


def _no_space_error(number: int | None, what: str) -> NoSpaceError:
    """Name what is exhausted: space, a quota, inodes, or the permitted size of one file."""
    cause, remedy = "no space left while writing to", "free some space"
    if number == errno.EDQUOT:
        cause, remedy = "the disk quota is used up at", "free some space or raise the quota"
    elif number == errno.EFBIG:
        cause, remedy = "a file has reached the permitted size in", "raise the limit (ulimit -f)"
    elif _has_no_inodes(what):
        cause, remedy = "no inodes left for new files in", "remove files that are not needed"
    return NoSpaceError(f"{cause} {what}", hint=f"{remedy}, then run the same command again")


def _has_no_inodes(folder: str) -> bool:
    """Whether inodes are exhausted; removed temporary files may have freed some."""
    if sys.platform == "win32":
        return False
    try:
        counts = os.statvfs(folder)
    except OSError:
        return False
    has_blocks = counts.f_bavail * counts.f_frsize > _SOME_SPACE
    return has_blocks and counts.f_files > 0 and counts.f_favail < _FEW_INODES


@contextmanager
def contention_errors(uid: str, staging: Path) -> Iterator[None]:
    """Report a series as taken by another run where locks do not work.

    Args:
        uid: of the series.
        staging: its folder, which only runs use: what is open in there, another run has open.

    Raises:
        TakenOverError: a file or folder is missing, or open in staging.
    """
    try:
        yield
    except OSError as error:
        place = file_in_use(error) or _removed_meanwhile(error)
        is_taken = is_missing(error) or (place and Path(place).is_relative_to(staging))
        # `mkdir` reports that a folder exists while another run renames it.
        if is_taken or (isinstance(error, FileExistsError) and not os.path.lexists(error.filename)):
            raise TakenOverError(uid) from error
        raise


def _removed_meanwhile(error: OSError) -> str:
    """The folder that was removed while Windows listed it; empty for other errors."""
    is_gone = getattr(error, "winerror", None) in _INVALID_NAME and error.filename is not None
    return str(error.filename) if is_gone and not os.path.lexists(error.filename) else ""


def files_in(folder: StrPath) -> set[str]:
    """The names of the files in a folder; a link counts where it leads to a file.

    Empty where there is no such folder, or it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def file_size(path: StrPath) -> int:
    """The bytes of a file; 0 where it is missing or cannot be read."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - of text or a Path
    except OSError:
        return 0


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
