"""Windows' rules about open files, read-only files and long paths, on any system.

`os` is replaced beneath `store.disk`, so that all of that module is tested.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.store import windows
from tcia_covid.store.disk import Disk


class WindowsError(PermissionError):
    """What Windows raises; elsewhere `OSError` drops the number."""

    winerror = 5

    def __init__(self, number: int, *names: str) -> None:
        source, target = (*names, None)[:2]
        super().__init__(errno.EACCES, "Access is denied", source, None, target)
        self.winerror = number


class WindowsRules:
    """Makes `os` refuse what Windows refuses.

    `open` holds the files that another program has open; `until` ends that after so many refusals.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.open: set[Path] = set()
        self.until: int | None = None
        self.refusals: list[tuple[str, int]] = []
        patch.setattr(Disk, "in_use_waits", (0.0, 0.0))
        patch.setattr(Disk, "sync_flags", os.O_RDWR)
        for name in ("rename", "replace"):
            patch.setattr(os, name, self._checked(name, getattr(os, name), 2))
        for name in ("unlink", "open"):
            patch.setattr(os, name, self._checked(name, getattr(os, name), 1))

    def _checked(self, name: str, plain: Callable[..., Any], count: int) -> Callable[..., Any]:
        def checked(*args: Any, **more: Any) -> Any:
            paths = [os.fspath(path) for path in args[:count]]
            if more.get("dir_fd") is None:  # else within `shutil.rmtree`
                number = self._refusal(name, [Path(path) for path in paths], args)
                if number:
                    self.refusals.append((name, number))
                    if self.until is not None and len(self.refusals) >= self.until:
                        self.open.clear()
                    raise WindowsError(number, *paths)
            return plain(*args, **more)

        return checked

    def _refusal(self, name: str, paths: list[Path], args: tuple[Any, ...]) -> int:
        """The error number; 0 if it is allowed."""
        source, target = paths[0], paths[-1]
        if name == "open":
            return 5 if args[1] & os.O_RDWR and is_read_only(source) else 0
        if source in self.open:
            return 32
        if name == "unlink":
            return 5 if is_read_only(source) else 0
        if any(source in path.parents for path in self.open):
            return 5
        return 5 if target in self.open or (name == "replace" and is_read_only(target)) else 0


def is_read_only(path: Path) -> bool:
    """Whether a file has the read-only attribute; here: whether its owner may not write it."""
    return path.is_file() and not path.lstat().st_mode & stat.S_IWRITE


def without_long_paths(patch: pytest.MonkeyPatch, longest: int = windows.MAX_PATH) -> None:
    """Be Windows without long paths, where a file's path has at most `longest` characters."""
    patch.setattr(windows, "paths_are_short", lambda: True)
    patch.setattr(windows, "MAX_PATH", longest)
