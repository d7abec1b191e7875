"""Opening files that anyone may have replaced by a link, a FIFO, a socket or a device.

Two functions are openers: `open(path, "rb", opener=open_regular)`.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from tcia_covid.core.errors import UsageError

_NO_WAITING = getattr(os, "O_NONBLOCK", 0)
"""Opening a FIFO does not wait for its other end; no effect on regular files."""
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_MODE = 0o666
Chunk = bytes | memoryview
"""Bytes of a file; where a function gives them as views, each is valid until the next is taken."""


def open_regular(path: str, flags: int) -> int:
    """Open a regular file, also through symbolic links.

    Raises:
        OSError: it is something else, or cannot be opened.
    """
    handle = _open(path, flags)
    return _checked(handle, path, os.fstat(handle))


def open_own(path: str | Path, flags: int) -> int:
    """Open or create a regular file of this program; never another file by a link to it.

    A second hard link is refused for writing: it may be the name of a user's file.

    Raises:
        OSError: it is something else, or cannot be opened.
    """
    if not _NO_LINKS and os.path.islink(path):  # noqa: PTH114 - Windows
        raise _link(path)
    try:
        handle = _open(path, flags | _NO_LINKS)
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.islink(path):  # noqa: PTH114 - systems differ in the error
            raise _link(path) from error
        raise
    status = os.fstat(handle)
    if flags & (os.O_WRONLY | os.O_RDWR) and status.st_nlink > 1:
        os.close(handle)
        raise OSError(errno.ELOOP, "it is a hard link to another file", str(path))
    return _checked(handle, path, status)


def is_foreign_link(path: str | Path) -> bool:
    """Whether a path is a symbolic link that must not be followed.

    A link is followed if this user, root or the owner of its target made it.
    """
    try:
        link = os.lstat(path)
    except OSError:
        return False
    if not stat.S_ISLNK(link.st_mode):
        return False
    user = 0
    if sys.platform != "win32":
        user = os.geteuid()
    if link.st_uid in (0, user):
        return False
    try:
        return os.stat(path).st_uid != link.st_uid  # noqa: PTH116
    except OSError:
        return True


def _open(path: str | Path, flags: int) -> int:
    try:
        return os.open(path, flags | _NO_WAITING, _MODE)
    except BlockingIOError:
        # Another process has a lease on a regular file: a blocking open waits for its release.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            raise
        return os.open(path, flags, _MODE)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.EOPNOTSUPP):  # a socket, or a FIFO without a reader
            raise _special(path) from error
        raise


def _checked(handle: int, path: str | Path, status: os.stat_result) -> int:
    if stat.S_ISREG(status.st_mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise _special(path)


def _special(path: str | Path) -> OSError:
    return OSError(errno.ELOOP, "it is not a regular file", str(path))


def _link(path: str | Path) -> OSError:
    return OSError(errno.ELOOP, "it is a symbolic link", str(path))


def check_working_folder(path: str) -> None:
    """Check that a relative path leads somewhere.

    Raises:
        UsageError: the working folder was removed.
    """
    if os.path.isabs(path):  # noqa: PTH117 - of text
        return
    try:
        os.getcwd()  # noqa: PTH109 - whether it exists is all
    except OSError as error:
        raise UsageError(
            "the working directory no longer exists",
            hint="change to another directory, or give an absolute path",
        ) from error
