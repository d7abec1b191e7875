"""Locks between processes, one per series.

For downloads they only save bandwidth: on some network file systems locks silently do not work.
Correctness comes from staging folders that are unique to a run, and from renames. `relayout` alone
relies on them, and refuses where they do not work.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tcia_covid.core.errors import LockedError
from tcia_covid.core.files import open_own
from tcia_covid.core.version import utc_now
from tcia_covid.store.disk import UNUSABLE_JSON, machine_name, parse_json

_LOCKED = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK})
_TRIES = 100
"""Attempts: the last holder may remove a lock file between opening and locking it."""
_REMOVAL_WAITS = (0.001, 0.01, 0.1, 0.5) if sys.platform == "win32" else ()
"""Seconds between attempts to open a lock file that may not be opened."""
if sys.platform == "win32":
    import msvcrt

    def _is_locked(handle: int) -> bool:
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return error.errno in _LOCKED
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        return False

    def _lock(handle: int) -> None:
        # Far behind the text, which others read: locks are mandatory on Windows.
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _is_locked(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _LOCKED
        return False

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has locked a series."""

    process: int
    """0 if the lock file does not say it."""
    host: str
    since: str
    """UTC, ISO 8601."""

    def __str__(self) -> str:
        if not self.process:
            return "unknown process"
        return f"process {self.process} on {self.host} since {self.since}"


def holders(folder: Path) -> list[Holder]:
    """The holders of the locks in a folder; files of dead processes do not count."""
    locking = []
    for path in sorted(folder.glob("*.lock")):
        with contextlib.suppress(OSError):
            handle = open_own(path, os.O_RDONLY)
            try:
                if _is_locked(handle):
                    locking.append(_holder(handle))
            finally:
                os.close(handle)
    return locking


def locks_work(path: Path) -> bool:
    """Whether a file that is locked at `path` cannot be locked again on its file system."""
    with contextlib.suppress(LockedError), Lock(path, "a probe"), Lock(path, "a probe"):
        return False
    return True


class Lock:
    """A lock file; locked between `__enter__` and `__exit__`, and never beyond the process's life.

    Raises on entering:
        LockedError: another process has locked it; the message says which.
    """

    lock_file: Callable[[int], None] = staticmethod(_lock)
    """Locks an open file, or raises OSError; replaced in tests by a file system without locks."""

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        self._handle: int | None = None

    def __enter__(self) -> Lock:
        for _ in range(_TRIES):
            handle = self._open()
            try:
                self.lock_file(handle)
            except OSError as error:
                if error.errno in _LOCKED:
                    raise self._locked(handle) from error
                # A file system without locks: correctness comes from renames.
            if self._is_current(handle):
                self._handle = handle
                self._sign(handle)
                break
            os.close(handle)
        # Some file systems give an open file another identity than its name: there is no lock.
        return self

    def __exit__(self, *exception: object) -> None:
        if self._handle is None:
            return
        if sys.platform == "win32":  # an open file has to be closed first, also by other runs
            os.close(self._handle)
        with contextlib.suppress(OSError):
            self._path.unlink()
        if sys.platform != "win32":
            os.close(self._handle)
        self._handle = None

    def _open(self) -> int:
        """Open the lock file; that of another user may be read-only."""
        for wait in _REMOVAL_WAITS:
            with contextlib.suppress(PermissionError, LockedError):
                return self._open_once()
            time.sleep(wait)  # Windows refuses to open a file that its last holder removes
        return self._open_once()

    def _open_once(self) -> int:
        try:
            return open_own(self._path, os.O_RDWR | os.O_CREAT)
        except PermissionError as refused:
            try:
                return open_own(self._path, os.O_RDONLY)
            except FileNotFoundError:
                raise refused from None
            except PermissionError as error:
                raise LockedError(
                    f"{self._what} is locked by a run of another user",
                    hint=f"wait for that run; if there is none, remove {self._path}",
                ) from error

    def _locked(self, handle: int) -> LockedError:
        holder = _holder(handle)
        os.close(handle)
        return LockedError(
            f"{self._what} is locked by another run ({holder})",
            hint="wait for that run, or end it; series that it completed are used",
        )

    def _is_current(self, handle: int) -> bool:
        """Whether the locked file is still the one under that name: its last holder removes it."""
        try:
            return os.path.samestat(os.fstat(handle), self._path.lstat())
        except FileNotFoundError:
            return False

    def _sign(self, handle: int) -> None:
        text = json.dumps({"pid": os.getpid(), "host": machine_name(), "since": utc_now()})
        with contextlib.suppress(OSError):
            os.lseek(handle, 0, os.SEEK_SET)
            os.ftruncate(handle, 0)
            os.write(handle, text.encode())


def _holder(handle: int) -> Holder:
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        signed = parse_json(os.read(handle, 4096))
        return Holder(int(signed["pid"]), str(signed["host"]), str(signed["since"]))
    except UNUSABLE_JSON:
        return Holder(0, "", "")
