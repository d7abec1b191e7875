"""A crash at any side effect leaves a state from which the next run ends as a clean one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tcia_covid.demo.server import ArchiveServer
from tcia_covid.errors import DestinationError
from tcia_covid.store import Disk, Tree
from tests.fakes.crash import CountingDisk, Crash, PowerLossDisk
from tests.unit.helpers import expected_files, fetch, files_of, pair


def _effects(server: ArchiveServer, root: Path) -> int:
    disk = CountingDisk()
    tree = Tree(root, disk=disk)
    tree.prepare()
    fetch(server, tree, pair(server).uid)
    return disk.count


def _sound(root: Path, expected: dict[str, str]) -> None:
    """Nothing but right files stands in the tree, ever."""
    for name, md5 in files_of(root).items():
        assert expected[name] == md5


def _finish(server: ArchiveServer, root: Path, expected: dict[str, str]) -> None:
    tree = Tree(root, disk=Disk(durable=False))
    tree.prepare()
    fetch(server, tree, pair(server).uid)
    assert files_of(root) == expected
    assert tree.under_way() == set()
    assert not [part for part in tree.state.rglob("*.part") if part.parent != tree.temporary]


@pytest.mark.parametrize("halfway", [False, True])
def test_fault_21_a_crash_at_every_side_effect_is_recovered_from(
    server: ArchiveServer, tmp_path: Path, halfway: bool
) -> None:
    expected = expected_files(pair(server))
    for number in range(_effects(server, tmp_path / "clean")):
        root = tmp_path / str(number)
        with contextlib.suppress(Crash):
            tree = Tree(root, disk=CountingDisk(number, halfway=halfway))
            tree.prepare()
            fetch(server, tree, pair(server).uid)
        _sound(root, expected)
        _finish(server, root, expected)


@pytest.mark.parametrize("error", [28, 5, 13], ids=["ENOSPC", "EIO", "EACCES"])
def test_fault_20_a_disk_error_at_every_side_effect_is_told_and_recovered_from(
    server: ArchiveServer, tmp_path: Path, error: int
) -> None:
    expected = expected_files(pair(server))
    for number in range(_effects(server, tmp_path / "clean")):
        root = tmp_path / str(number)
        with contextlib.suppress(DestinationError):
            tree = Tree(root, disk=CountingDisk(number, error))
            tree.prepare()
            fetch(server, tree, pair(server).uid)
        _sound(root, expected)
        _finish(server, root, expected)


def test_fault_21_after_a_power_cut_only_synced_data_counts(
    server: ArchiveServer, tmp_path: Path
) -> None:
    expected = expected_files(pair(server))
    for number in range(_effects(server, tmp_path / "clean")):
        root = tmp_path / str(number)
        root.mkdir()
        disk = PowerLossDisk(root, number)
        with contextlib.suppress(Crash):
            tree = Tree(root, disk=disk)
            tree.prepare()
            fetch(server, tree, pair(server).uid)
        disk.cut_power()
        _sound(root, expected)
        _finish(server, root, expected)
