"""`.sums` files, which come with packages: a hash and a path a line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tcia_covid.nifti.names import VolumePattern

ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""By the number of hex digits."""

_HEX = r"(?P<hash>[0-9A-Fa-f]{32,128})"
_LINES = (
    re.compile(rf"\\?{_HEX}[ \t]+[*]?(?P<path>\S.*)"),
    re.compile(rf"[A-Z0-9-]+ \((?P<path>.+)\) = {_HEX}"),
)
"""As md5sum and the like write them, and with `--tag` or on BSD."""
_LONGEST = 4096
_MOST = 512 * 1024 * 1024
"""Bytes of a file that are read: one of a package of 400,000 files has 50 million."""


class Sums:
    """The hashes that packages publish of their volumes, by file name."""

    def __init__(self, pattern: VolumePattern) -> None:
        self._pattern = pattern
        self._hashes: dict[str, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def files(self) -> set[str]:
        """The names of all volumes that are listed."""
        return set(self._hashes)

    def take(self, path: Path) -> int:
        """Read a `.sums` file; gives how many lines of it are about volumes.

        Raises:
            OSError: it cannot be read.
        """
        count = 0
        for line in _lines(path):
            found = next((match for form in _LINES if (match := form.fullmatch(line))), None)
            if found is None or len(found["hash"]) not in ALGORITHMS:
                continue
            name = re.split(r"[/\\]", found["path"])[-1]
            if self._pattern.read(name) is not None:
                self._hashes[name].add(found["hash"].lower())
                count += 1
        return count

    def algorithms(self, file: str) -> set[str]:
        """The kinds of hashes that are published of a volume."""
        return {ALGORITHMS[len(one)] for one in self._hashes.get(file, ())}

    def agree(self, file: str, digests: Mapping[str, str]) -> bool | None:
        """Whether a volume has a hash that is published of it.

        Args:
            file: the volume's name.
            digests: its hashes, by algorithm.

        Returns:
            None where no hash of these algorithms is published.
        """
        named = [(ALGORITHMS[len(one)], one) for one in self._hashes.get(file, ())]
        known = [(digests[name], one) for name, one in named if name in digests]
        return any(has == one for has, one in known) if known else None


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text, without what is too long or too much."""
    left = _MOST
    with path.open("rb") as file:
        while left > 0 and (line := file.readline(_LONGEST)):
            left -= len(line)
            yield line.decode("utf-8", "replace").lstrip("\ufeff").strip()
