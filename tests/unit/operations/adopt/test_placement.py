"""Placing single files: the methods in their order, and files that change in the meantime."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.events import discard
from tcia_covid.core.models import Check
from tcia_covid.operations.adopt_scan import scan
from tcia_covid.store.disk import Disk
from tcia_covid.store.placement import FilePlacer, FoundFile
from tcia_covid.store.staging import Staging
from tests.unit.trees import image_of, md5_of, new_tree, series_of

SERIES = series_of(1)
CONTENT = image_of(SERIES, 1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "have" / "below"
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(CONTENT)
    return tmp_path / "have"


@pytest.fixture
def found_file(source: Path) -> FoundFile:
    inventory = scan(source, skipped=(), jobs=1, stop=CancelToken(), emit=discard)
    return inventory.series[SERIES.uid][0]


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with new_tree(tmp_path / "data").stage(SERIES, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        yield staging


def new_placer(source: Path, mode: str = "link", disk: Disk | None = None) -> FilePlacer:
    return FilePlacer(source, mode, disk or Disk(durable=False))  # type: ignore[arg-type]


def in_staging(staging: Staging) -> dict[str, str]:
    return {path.name: md5_of(path.read_bytes()) for path in staging.folder.glob("[!.]*")}


class CloningDisk(Disk):
    """A file system that shares blocks, as far as can be seen."""

    def clone(self, source: int, target: int) -> None:
        os.write(target, os.read(source, 1 << 20))


class PlainDisk(Disk):
    """A file system that cannot share blocks."""

    def clone(self, source: int, target: int) -> None:
        raise OSError(95, "not supported")


def test_a_hard_link_comes_first(source: Path, found_file: FoundFile, staging: Staging) -> None:
    assert new_placer(source).place(found_file, Check.MD5, staging) == "link"
    assert (staging.folder / f"{found_file.uid}.dcm.staged").samefile(source / found_file.file)
    (image,) = staging.images.values()
    assert (image.md5, image.check, image.source) == (found_file.md5, Check.MD5, "adopted")


def test_a_reflink_comes_next(source: Path, found_file: FoundFile, staging: Staging) -> None:
    assert (
        new_placer(source, "copy", CloningDisk(durable=False)).place(found_file, Check.MD5, staging)
        == "reflink"
    )
    assert in_staging(staging) == {f"{found_file.uid}.dcm.staged": found_file.md5}


def test_a_copy_comes_last(source: Path, found_file: FoundFile, staging: Staging) -> None:
    assert (
        new_placer(source, "copy", PlainDisk(durable=False)).place(found_file, Check.MD5, staging)
        == "copy"
    )
    assert in_staging(staging) == {f"{found_file.uid}.dcm.staged": found_file.md5}
    assert staging.images[found_file.uid].check is Check.MD5


def test_an_image_that_is_there_is_kept_and_its_proof_noted(
    source: Path, found_file: FoundFile, staging: Staging
) -> None:
    staging.receive([CONTENT], source="nbia")
    assert new_placer(source).place(found_file, Check.SERIES_MD5, staging) == "staged"
    (image,) = staging.images.values()
    assert (image.check, image.source) == (Check.SERIES_MD5, "nbia")


def test_another_version_in_staging_is_replaced(
    source: Path, found_file: FoundFile, staging: Staging
) -> None:
    staging.receive([CONTENT[:-1] + b"\xff"], source="nbia")
    assert new_placer(source).place(found_file, Check.MD5, staging) == "link"
    assert in_staging(staging) == {f"{found_file.uid}.dcm.staged": found_file.md5}


@pytest.mark.parametrize("mode", ["link", "copy"])
@pytest.mark.parametrize("disk", [CloningDisk, PlainDisk])
@pytest.mark.parametrize("change", ["other bytes", "cut", "empty", "gone", "another image"])
def test_a_file_that_changed_since_it_was_hashed_is_not_taken(
    source: Path,
    found_file: FoundFile,
    staging: Staging,
    mode: str,
    disk: type[Disk],
    change: str,
) -> None:
    file = source / found_file.file
    file.unlink()
    contents = {
        "other bytes": CONTENT[:-1] + b"\xff",
        "cut": CONTENT[:500],
        "empty": b"",
        "another image": image_of(SERIES, 2),
    }
    if change != "gone":
        file.write_bytes(contents[change])
    placer = new_placer(source, mode, disk(durable=False))
    assert placer.place(found_file, Check.MD5, staging) == ""
    assert (in_staging(staging), staging.images) == ({}, {})


def test_a_read_only_file_is_copied_where_a_link_could_not_be_synced(
    source: Path, found_file: FoundFile, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    assert new_placer(source, disk=Disk()).place(found_file, Check.MD5, staging) != "link"


@pytest.fixture
def committed(tmp_path: Path, found_file: FoundFile) -> Path:
    """The folder of the series in the layout."""
    folder = tmp_path / "standing"
    folder.mkdir()
    (folder / f"{found_file.uid}.dcm").write_bytes(CONTENT)
    return folder


def test_an_original_is_removed_with_the_folders_that_it_leaves_empty(
    source: Path, found_file: FoundFile, committed: Path
) -> None:
    assert new_placer(source, "move").remove(found_file, committed / f"{found_file.uid}.dcm")
    assert list(source.iterdir()) == []


def test_an_original_that_changed_is_not_removed(
    source: Path, found_file: FoundFile, committed: Path
) -> None:
    os.utime(source / found_file.file, (1, 1))
    assert not new_placer(source, "move").remove(found_file, committed / f"{found_file.uid}.dcm")
    assert (source / found_file.file).exists()


def test_an_original_that_is_gone_is_not_missed(
    source: Path, found_file: FoundFile, committed: Path
) -> None:
    shutil.rmtree(source / "below")
    assert not new_placer(source, "move").remove(found_file, committed / f"{found_file.uid}.dcm")


@pytest.mark.parametrize("how", ["changed", "gone", "the same name"])
def test_an_original_whose_bytes_exist_nowhere_else_stays(
    source: Path, found_file: FoundFile, committed: Path, how: str
) -> None:
    image = committed / f"{found_file.uid}.dcm"
    image.unlink()
    if how == "changed":
        image.write_bytes(CONTENT[:-1] + b"\xff")
    if how == "the same name":
        (source / found_file.file).rename(source / "below" / image.name)
        found_file = found_file._replace(name=image.name)
        committed = source / "below"
    assert not new_placer(source, "move").remove(found_file, committed / f"{found_file.uid}.dcm")
    assert (source / found_file.file).exists()


def test_an_original_in_a_hidden_folder_stays(
    source: Path, found_file: FoundFile, committed: Path
) -> None:
    (source / "below").rename(source / ".dvc")
    found_file = found_file._replace(folder=found_file.folder.replace("below", ".dvc"))
    assert not new_placer(source, "move").remove(found_file, committed / f"{found_file.uid}.dcm")
    assert (source / found_file.file).exists()


@pytest.mark.parametrize("linked", ["image", "folder"])
def test_an_original_stays_that_a_link_in_the_layout_leads_to(
    source: Path, found_file: FoundFile, committed: Path, linked: str
) -> None:
    original = source / found_file.file
    os.link(original, source / "a-second-name")
    (committed / f"{found_file.uid}.dcm").unlink()
    if linked == "image":
        (committed / f"{found_file.uid}.dcm").symlink_to(original)
    else:
        original.rename(original.with_name(f"{found_file.uid}.dcm"))
        found_file = found_file._replace(name=f"{found_file.uid}.dcm")
        committed.rmdir()
        committed.symlink_to((source / found_file.file).parent)
    assert not new_placer(source, "move").remove(found_file, committed / f"{found_file.uid}.dcm")
    assert (source / found_file.file).exists()
