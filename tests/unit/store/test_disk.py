"""The seam to the file system: refused renames, long paths, drives that are not there."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from io import FileIO
from pathlib import Path

import pytest

from tcia_covid.core.errors import EXIT_DESTINATION, DestinationError, TakenOverError
from tcia_covid.store import windows
from tcia_covid.store.disk import (
    Disk,
    StrPath,
    contention_errors,
    destination_error,
    destination_errors,
)
from tcia_covid.store.tree import Tree
from tests.fakes.windows import WindowsError
from tests.unit.trees import grow, new_tree, series_of


class Scanner:
    """Refuses to have something renamed, for a few times."""

    def __init__(self, patch: pytest.MonkeyPatch, method: str, times: int) -> None:
        self.times = times
        plain = getattr(os, method)

        def rename(source: Path, target: Path) -> None:
            self.times -= 1
            if self.times >= 0:
                raise WindowsError(32, str(source), str(target))
            plain(source, target)

        patch.setattr(os, method, rename)
        patch.setattr(Disk, "in_use_waits", (0.0, 0.0, 0.0))


@pytest.mark.parametrize("method", ["rename", "replace"])
def test_a_rename_that_a_virus_scanner_prevents_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("x")
    Scanner(monkeypatch, method, times=3)
    getattr(Disk(), method)(source, target)
    assert target.read_text() == "x"


@pytest.mark.parametrize("method", ["rename", "replace"])
def test_a_rename_that_is_always_refused_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    (tmp_path / "a").write_text("x")
    scanner = Scanner(monkeypatch, method, times=100)
    with pytest.raises(PermissionError):
        getattr(Disk(), method)(tmp_path / "a", tmp_path / "b")
    assert scanner.times == 96


def test_a_folder_on_a_missing_drive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: Path, *args: object, **options: object) -> None:
        raise FileNotFoundError(2, "no such drive", str(path))

    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(FileNotFoundError, match="no such drive"):
        Disk().make_lasting_folder(Path("/data/COVID-19-AR").absolute())


def test_an_output_folder_whose_path_is_too_long_is_named(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 30)
    with pytest.raises(DestinationError, match="too long") as caught:
        Tree(deep).prepare()
    assert "--output" in caught.value.hint


@pytest.mark.parametrize("short", [True, False])
def test_a_path_too_long_for_windows_is_not_a_file_taken_by_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    monkeypatch.setattr(windows, "paths_are_short", lambda: short)
    expected, text = (DestinationError, "too long") if short else (TakenOverError, "taken over")
    with (
        pytest.raises(expected, match=text),
        destination_errors("the folder"),
        contention_errors("1.2.3", tmp_path),
    ):
        Disk().create(tmp_path / ("a" * 200) / ("b" * 200))


@pytest.mark.parametrize("where", ["staging", "elsewhere", "still there"])
def test_a_folder_in_staging_that_is_removed_while_windows_lists_it_is_another_runs(
    tmp_path: Path, where: str
) -> None:
    staging, other = tmp_path / "staging", tmp_path / "other"
    staging.mkdir()
    folder = {"staging": staging / "run", "elsewhere": other / "run", "still there": staging}[where]
    with (
        pytest.raises(TakenOverError if where == "staging" else PermissionError),
        contention_errors("1.2.3", staging),
    ):
        raise WindowsError(123, str(folder))


def test_the_error_of_windows_for_a_long_path_is_recognized() -> None:
    error = FileNotFoundError(2, "The filename or extension is too long")
    error.winerror = 206  # type: ignore[attr-defined,unused-ignore]
    with pytest.raises(DestinationError, match="too long"), destination_errors("the folder"):
        raise error


@pytest.mark.skipif(sys.platform == "win32", reason="Windows finds no such path")
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.touch()
    with pytest.raises(DestinationError) as caught, destination_errors("the folder"):
        (file / "deep" / "er").mkdir()
    assert caught.value.message == f"cannot write to the folder: {file} is a file, not a folder"
    assert "--output" in caught.value.hint


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EMFILE, errno.ENOMEM])
def test_the_error_of_a_limit_names_it(tmp_path: Path, number: int) -> None:
    names = {
        errno.EDQUOT: "the disk quota is used up",
        errno.EMFILE: "too many open files",
        errno.ENOMEM: "not enough memory",
    }
    error = destination_error(OSError(number, os.strerror(number)), str(tmp_path))
    assert error.message.startswith(names[number])
    assert error.exit_code == EXIT_DESTINATION
    assert "raise" in error.hint


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_file_system_without_fsync_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    disk = Disk()
    with disk.create(tmp_path / "file") as file:
        if number == errno.EIO:
            with pytest.raises(OSError, match=r"Input/output error"):
                disk.sync(file)
            with pytest.raises(OSError, match=r"Input/output error"):
                disk.sync_file(tmp_path / "file")
            return
        disk.sync(file)
        disk.sync_file(tmp_path / "file")
    assert len(disk.notices) == 1
    assert "cannot force data to the disk (fsync)" in disk.notices[0]


def test_the_images_of_a_series_go_to_the_disk_before_the_first_is_synced(tmp_path: Path) -> None:
    class Watching(Disk):
        def start_sync(self, file: FileIO) -> None:
            super().start_sync(file)
            calls.append("start")

        def sync_file(self, path: StrPath) -> None:
            super().sync_file(path)
            calls.append("sync")

    calls: list[str] = []
    grow(new_tree(tmp_path, disk=Watching()), series_of(1))
    assert calls == ["start"] * 3 + ["sync"] * 3


def test_a_python_without_ctypes_syncs_files(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ctypes'] = None\n"
        "from tcia_covid.store.disk import Disk\n"
        f"with Disk().create({str(tmp_path / 'file')!r}) as file:\n"
        "    file.write(b'image'); Disk().start_sync(file); Disk().sync(file)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "file").read_bytes() == b"image"


@pytest.mark.parametrize("gone", [True, False])
def test_a_folder_that_another_run_removes_meanwhile_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    folder = tmp_path / "staging"
    folder.mkdir()

    def meeting_another(path: Path) -> None:
        if gone:
            path.rmdir()
        raise OSError(errno.EINVAL, "Invalid name", str(path))  # Windows' error 123

    monkeypatch.setattr(shutil, "rmtree", meeting_another)
    if gone:
        Disk().remove_folder(folder)
        return
    with pytest.raises(OSError, match="Invalid name"):
        Disk().remove_folder(folder)


class NotEmptyError(OSError):
    """What Windows raises where a removed file is still open, or one is left."""

    winerror = 145

    def __init__(self, folder: StrPath) -> None:
        super().__init__(errno.ENOTEMPTY, "The directory is not empty", str(folder))


@pytest.mark.parametrize("foreign", [False, True])
def test_a_folder_is_removed_when_its_removed_files_are_closed_unless_there_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign: bool
) -> None:
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "1.dcm").write_text("own")
    attempts = []
    plain = os.rmdir

    def rmdir(path: StrPath, **options: int) -> None:
        attempts.append(path)
        if foreign:  # another program writes it after the folder was listed
            (folder / "2.txt").write_text("mine")
        if foreign or len(attempts) < 4:
            raise NotEmptyError(path)
        plain(path, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    monkeypatch.setattr(Disk, "in_use_waits", (0.0, 0.0, 0.0))
    if not foreign:
        Disk().remove_folder(folder)
        assert not folder.exists()
        return
    with pytest.raises(OSError, match="not empty"):
        Disk().remove_folder(folder)
    assert [file.name for file in folder.iterdir()] == ["2.txt"]
    assert len(attempts) == 5


def test_a_folder_is_durable_before_one_is_made_in_it(tmp_path: Path) -> None:
    class Watching(Disk):
        def sync_folder(self, path: StrPath) -> None:
            there = sorted(folder.name for folder in tmp_path.rglob("*"))
            synced.append((path, there))

    synced: list[tuple[Path, list[str]]] = []
    Watching().make_lasting_folder(tmp_path / "a" / "b")
    assert synced == [(tmp_path, ["a"]), (tmp_path / "a", ["a", "b"])]
