"""Small notes about single series, from one run to the next: damage found, failures and why."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tcia_covid.core.models import ADOPTED
from tcia_covid.store.disk import Disk

_NAME = ".origins"
_LINE = re.compile(r"([0-9.]+) ([a-z]{1,16})")


class Notes:
    """One JSON file a series that there is something to say about."""

    def __init__(self, folder: Path, disk: Disk, temporary: Path) -> None:
        self._folder = folder
        self._disk = disk
        self._temporary = temporary

    def uids(self) -> set[str]:
        """The SeriesInstanceUIDs that have a note."""
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - names alone are wanted
        except FileNotFoundError:
            return set()
        return {name[:-5] for name in names if name.endswith(".json") and name[0] != "."}

    def read(self, uid: str) -> list[dict[str, Any]]:
        """What the note of a series says; empty if there is none, or none that can be read."""
        try:
            lines = json.loads((self._folder / f"{uid}.json").read_bytes())
        except (OSError, ValueError):
            return []
        return [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []

    def write(self, uid: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write, or write anew, the note of a series."""
        self._disk.make_folder(self._folder)
        text = json.dumps([dict(line) for line in lines], indent=1, ensure_ascii=False)
        self._disk.write_file(self._folder / f"{uid}.json", [text.encode()], self._temporary)

    def clear(self, uid: str) -> None:
        """There is nothing to say any more."""
        self._disk.remove(self._folder / f"{uid}.json")


class ImageOrigins:
    """A line an image, beside the images of one staging folder; gone when these are published."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._file = folder / _NAME
        self._disk = disk

    def note(self, uid: str, source: str) -> None:
        """Note where image `uid` came from; the last word counts."""
        if source == ADOPTED and not self._file.exists():
            return  # what is not noted was found on disk
        self._disk.append(self._file, f"{uid} {source}\n".encode())

    def clear(self) -> None:
        """Nothing came that stayed."""
        self._disk.remove(self._file)

    def read(self) -> dict[str, str]:
        """The sources by SOPInstanceUID; without lines that a crash cut or somebody changed."""
        try:
            text = self._file.read_bytes().decode("ascii", "replace")
        except OSError:
            return {}
        lines = (_LINE.fullmatch(line) for line in text.splitlines())
        return {line[1]: line[2] for line in lines if line}
