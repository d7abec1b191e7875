"""Finding a collection's volumes below a folder."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.errors import RequestError
from tcia_covid.names import STATE
from tcia_covid.nifti.names import VolumeName, VolumePattern
from tcia_covid.nifti.sums import Sums

_UNFINISHED = (".aspx", ".partial", ".aspera-ckpt")
"""How Aspera calls what it has not received to the end."""
_SUMS = ".sums"


@dataclass(frozen=True, slots=True)
class Unfit:
    """A file that was not taken in."""

    file: str
    """Relative to the folder that was looked at, with forward slashes."""
    reason: str
    """`foreign`, `duplicate`, `conflict`, `damaged`, `unreadable` or `unfinished`."""
    detail: str


@dataclass(slots=True)
class Finds:
    """What stands below a folder."""

    top: Path
    sums: Sums
    volumes: dict[VolumeName, list[Path]] = field(default_factory=lambda: defaultdict(list))
    """The files by what their names tell; several where a name stands in several folders."""
    unfit: list[Unfit] = field(default_factory=list)
    ours: bool = False
    """Whether a tree of this program is among it."""

    def subjects(self) -> dict[str, list[VolumeName]]:
        """The volumes' names by patient, sorted."""
        grouped: dict[str, list[VolumeName]] = defaultdict(list)
        for name in sorted(self.volumes):
            grouped[name.subject].append(name)
        return dict(grouped)

    def shown(self, path: Path) -> str:
        """What a file is called in reports."""
        return path.relative_to(self.top).as_posix()


def find_volumes(top: Path, pattern: VolumePattern, *, skipped: Path | None = None) -> Finds:
    """Look through a folder and all below it; links to folders are not followed.

    Args:
        top: the folder.
        pattern: how the volumes are called.
        skipped: a folder that is left out, should it be below.

    Raises:
        RequestError: there is no such folder.
    """
    if not top.is_dir():
        raise RequestError(f"there is no folder {top}", hint="name the folder that has the files")
    finds = Finds(top, Sums(pattern))
    for path in _files(top, finds, skipped):
        name = pattern.read(path.name)
        if path.is_symlink() or not path.is_file():
            finds.unfit.append(Unfit(finds.shown(path), "foreign", "not a plain file"))
        elif name is not None:
            finds.volumes[name].append(path)
        elif path.name.lower().endswith(_SUMS):
            _take_sums(path, finds)
        elif path.name[0] != ".":
            finds.unfit.append(_unfit(path, finds, pattern))
    return finds


def _files(top: Path, finds: Finds, skipped: Path | None) -> Iterator[Path]:
    """Every file below a folder, in order, but for what this program keeps for itself."""

    def unreadable(error: OSError) -> None:
        file = finds.shown(Path(error.filename)) if error.filename else "."
        finds.unfit.append(Unfit(file, "unreadable", error.strerror or str(error)))

    left_out = os.path.realpath(skipped) if skipped is not None else ""
    for folder, folders, files in os.walk(top, onerror=unreadable):
        finds.ours = finds.ours or STATE in folders
        folders[:] = sorted(
            (
                one
                for one in folders
                if one != STATE and os.path.realpath(Path(folder, one)) != left_out
            ),
            key=lambda name: (name.startswith("."), name),
        )
        yield from (Path(folder) / file for file in sorted(files))


def _take_sums(path: Path, finds: Finds) -> None:
    try:
        finds.sums.take(path)
    except OSError as error:
        finds.unfit.append(Unfit(finds.shown(path), "unreadable", error.strerror or str(error)))


def _unfit(path: Path, finds: Finds, pattern: VolumePattern) -> Unfit:
    if path.name.endswith(_UNFINISHED):
        return Unfit(finds.shown(path), "unfinished", "a transfer of it did not come to its end")
    if pattern.read(f"{path.name}.gz") is not None:
        detail = "an uncompressed copy: what is published ends in .nii.gz"
        return Unfit(finds.shown(path), "foreign", detail)
    return Unfit(finds.shown(path), "foreign", "not called as the collection's volumes are")
