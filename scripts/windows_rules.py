"""Windows' rules that Wine 8 does not enforce; `windows-check` imports this before the program.

1. A folder in which a file is open cannot be renamed, whatever its sharing mode.
2. A file with the read-only attribute cannot be opened for writing, removed or replaced.
3. Without long paths, a file's path has fewer than 260 characters, a folder's fewer than 248.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ACCESS_DENIED, _SHARING_VIOLATION, _TOO_LONG, _NOT_FOUND = 5, 32, 206, 3
_LONGEST_FILE, _LONGEST_FOLDER = 259, 247


def _denied(*names: Any) -> OSError:
    source, target = (*map(str, names), None)[:2]
    return PermissionError(13, "Access is denied", source, _ACCESS_DENIED, target)


def _is_open(path: str) -> bool:
    """Whether a program has a file open, by asking for it without sharing."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.CreateFileW.restype = ctypes.c_void_p
    kernel.CloseHandle.argtypes = [ctypes.c_void_p]
    handle = kernel.CreateFileW(path, 0x80000000 | 0x10000, 0, None, 3, 0x80, None)
    if handle in (None, ctypes.c_void_p(-1).value):
        return bool(ctypes.get_last_error() == _SHARING_VIOLATION)  # type: ignore[attr-defined]
    kernel.CloseHandle(handle)
    return False


def _has_open_file(folder: Any) -> bool:
    return any(
        _is_open(str(Path(root, name))) for root, _, names in os.walk(folder) for name in names
    )


def _is_read_only(path: Any) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and not mode & stat.S_IWRITE


def _check_length(path: Any, longest: int = _LONGEST_FILE, number: int = _NOT_FOUND) -> None:
    full = "" if isinstance(path, int) else os.path.abspath(os.fspath(path))  # noqa: PTH100
    if len(full) > longest:
        text = "The system cannot find the path specified"
        raise FileNotFoundError(2, text, str(path), number)


def _wrap(name: str, check: Callable[..., None]) -> None:
    plain = getattr(os, name)

    def checked(*args: Any, **more: Any) -> Any:
        check(*args)
        return plain(*args, **more)

    setattr(os, name, checked)


def _rename(source: Any, target: Any, *_: Any) -> None:
    _check_length(source)
    _check_length(target)
    if Path(source).is_dir() and _has_open_file(source):
        raise _denied(source, target)


def _replace(source: Any, target: Any, *_: Any) -> None:
    _rename(source, target)
    if _is_read_only(target):
        raise _denied(source, target)


def _unlink(path: Any, *_: Any) -> None:
    _check_length(path)
    if _is_read_only(path):
        raise _denied(path)


def _open(path: Any, flags: int, *_: Any) -> None:
    _check_length(path)
    if flags & (os.O_RDWR | os.O_WRONLY) and _is_read_only(path):
        raise _denied(path)


if sys.platform == "win32":
    _wrap("rename", _rename)
    _wrap("replace", _replace)
    _wrap("unlink", _unlink)
    _wrap("remove", _unlink)
    _wrap("open", _open)
    _wrap("mkdir", lambda path, *_: _check_length(path, _LONGEST_FOLDER, _TOO_LONG))
    for _name in ("rmdir", "listdir", "scandir", "chmod"):
        _wrap(_name, lambda path=".", *_: _check_length(path))
