"""What Windows refuses and other systems allow: open files, read-only files, long paths."""

from __future__ import annotations

import contextlib
import os
import stat
import sys

_ACCESS_DENIED = 5
_IN_USE = frozenset({32, 33})
"""Sharing violation, lock violation."""
_NOT_EMPTY = 145
MAX_PATH = 259
"""Characters of a file's path that every program can open unless long paths are enabled."""
_SHORT_NAME = 12
"""Characters of a file name that must fit into the path of every folder (8.3)."""


def file_in_use(error: OSError) -> str:
    """The file or folder that another program has open; empty if that is not the reason.

    Windows says "access denied" of an open file that is to be replaced, and of a folder with an
    open file in it. It says so, too, of files that this user may not change.
    """
    winerror = getattr(error, "winerror", None)
    if winerror != _ACCESS_DENIED and winerror not in _IN_USE:
        return ""
    names = [str(name) for name in (error.filename2, error.filename) if name is not None]
    existing = [name for name in names if os.path.lexists(name)]
    return next(iter(existing if winerror == _ACCESS_DENIED else [*existing, *names]), "")


def folder_not_empty(error: OSError) -> str:
    """The folder that Windows does not remove because files are in it; empty if another reason.

    A removed file stays in its folder until the last program that has it open closes it.
    """
    return str(error.filename) if getattr(error, "winerror", None) == _NOT_EMPTY else ""


def clear_read_only(path: str | os.PathLike[str]) -> bool:
    """Clear a file's read-only attribute; False if it has none, or it cannot be cleared."""
    with contextlib.suppress(OSError):
        if _is_read_only(path):
            os.chmod(path, stat.S_IREAD | stat.S_IWRITE)  # noqa: PTH101 - a name need be no Path
            return not _is_read_only(path)
    return False


def _is_read_only(path: str | os.PathLike[str]) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) and not mode & stat.S_IWRITE


def excess_length(path: str | os.PathLike[str]) -> int:
    """By how many characters the path of a file exceeds what every program can open."""
    full = os.path.abspath(path)  # noqa: PTH100 - links are not resolved
    return max(len(full) - MAX_PATH, len(os.path.dirname(full)) - MAX_PATH + _SHORT_NAME)  # noqa: PTH120


def paths_are_short() -> bool:
    """Whether this is Windows without long paths."""
    if sys.platform != "win32":
        return False
    import ctypes  # noqa: PLC0415 - slow, and hardly ever needed

    enabled = getattr(ctypes.WinDLL("ntdll"), "RtlAreLongPathsEnabled", None)
    return enabled is None or not enabled()
