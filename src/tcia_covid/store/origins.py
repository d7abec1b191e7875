"""Which archive each image in staging came from, for the run that goes on after a cut."""

from __future__ import annotations

import re
from pathlib import Path

from tcia_covid.model import ADOPTED
from tcia_covid.store.disk import Disk

_NAME = ".origins"
_LINE = re.compile(r"([0-9.]+) ([a-z]{1,16})")


class Origins:
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
