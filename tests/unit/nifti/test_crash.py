"""A crash, a disk error or a power cut at any side effect of taking volumes in is survived."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from tcia_covid.core.errors import DestinationError
from tcia_covid.nifti.adopt import install_volumes
from tcia_covid.nifti.scan import find_volumes
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store.disk import Disk
from tcia_covid.store.placement import Mode
from tests.fakes import nifti as fake
from tests.fakes.crashing_disk import CountingDisk, Crash, PowerLossDisk

_, _, EARLY, LATE = fake.whole()
FIRST = {EARLY: fake.whole()[EARLY]}
BOTH = {name: fake.whole()[name] for name in (EARLY, LATE)}


def install(source: Path, output: Path, disk: Disk, mode: Mode = "copy") -> None:
    """Take a patient's volumes in, in one thread."""
    tree = VolumeTree(output, fake.collection(), disk)
    tree.prepare()
    install_volumes(find_volumes(source, tree.pattern), tree, mode=mode, jobs=1)


def volumes_in(output: Path) -> dict[str, bytes]:
    """The volumes of the layout."""
    root = output / fake.NAME
    found = root.glob("0700/*.nii.gz") if root.is_dir() else ()
    return {file.name: file.read_bytes() for file in found}


def effects(source: Path, output: Path, mode: Mode) -> int:
    """How many side effects a clean run has, that finds one volume in the layout."""
    disk = CountingDisk()
    install(source, output, disk, mode)
    return disk.count


def prepared(tmp_path: Path, name: str) -> tuple[Path, Path]:
    """Both volumes in a folder, and an output that has the first of them."""
    source = fake.write(tmp_path / f"have-{name}", BOTH)
    output = tmp_path / name
    install(fake.write(tmp_path / "first", FIRST), output, Disk(durable=False))
    return source, output


def finish(source: Path, output: Path, tmp_path: Path) -> None:
    """Import everything on a disk that works; it must be complete then."""
    fake.write(source, BOTH)
    install(source, output, Disk(durable=False))
    assert volumes_in(output) == BOTH
    assert verify_directory(output, deep=True).exit_code == 0
    assert not VolumeTree(output, fake.collection()).series_in_staging()
    shutil.rmtree(source)
    shutil.rmtree(output)


@pytest.mark.parametrize("mode", ["copy", "move"])
@pytest.mark.parametrize("halfway", [False, True])
def test_recovery_from_a_crash_at_every_side_effect(
    tmp_path: Path, halfway: bool, mode: Mode
) -> None:
    source, output = prepared(tmp_path, "clean")
    for number in range(effects(source, output, mode)):
        source, output = prepared(tmp_path, str(number))
        with contextlib.suppress(Crash):
            install(source, output, CountingDisk(number, halfway=halfway), mode)
        assert volumes_in(output).items() <= BOTH.items()
        finish(source, output, tmp_path)


class _NoLinks(CountingDisk):
    """A file system without second names."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(95, "not supported")


def test_a_crash_while_moving_keeps_the_only_copy_visible(tmp_path: Path) -> None:
    source, output = prepared(tmp_path, "clean")
    disk = _NoLinks()
    install(source, output, disk, "move")
    assert volumes_in(output) == BOTH
    for number in range(disk.count):
        source, output = prepared(tmp_path, str(number))
        with contextlib.suppress(Crash):
            install(source, output, _NoLinks(number), "move")
        originals = {file.name for file in source.rglob("*.nii.gz")}
        assert originals | volumes_in(output).keys() == BOTH.keys()


@pytest.mark.parametrize("error", [28, 5, 13], ids=["ENOSPC", "EIO", "EACCES"])
def test_a_disk_error_at_every_side_effect_is_reported_and_recovered_from(
    tmp_path: Path, error: int
) -> None:
    source, output = prepared(tmp_path, "clean")
    for number in range(effects(source, output, "copy")):
        source, output = prepared(tmp_path, str(number))
        with contextlib.suppress(DestinationError):
            install(source, output, CountingDisk(number, error))
        assert volumes_in(output).items() <= BOTH.items()
        finish(source, output, tmp_path)


def test_after_a_power_cut_only_synced_data_counts(tmp_path: Path) -> None:
    source = fake.write(tmp_path / "have", BOTH)
    for number in range(effects(source, tmp_path / "clean", "copy")):
        output = tmp_path / str(number)
        output.mkdir()
        disk = PowerLossDisk(output, number)
        with contextlib.suppress(Crash):
            install(source, output, disk)
        disk.cut_power()
        assert volumes_in(output).items() <= BOTH.items()
        finish(source, output, tmp_path)
        fake.write(source, BOTH)
