"""How many bytes a folder takes."""

from __future__ import annotations

import contextlib
from pathlib import Path


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder that somebody may be writing to."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
