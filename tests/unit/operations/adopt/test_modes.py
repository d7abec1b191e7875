"""Linking, copying and moving."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tcia_covid.core.errors import (
    NoSpaceError,
)
from tcia_covid.store.placement import Mode
from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.other_downloaders import retriever_classic, tcia_utils
from tests.unit.operations.adopt.helpers import (
    NAME,
    adopt,
    any_file,
    files_below,
    flip_last_bit,
    images_in,
    one_series,
)


def test_hard_links_are_made_if_possible(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    result = adopt(server, source, data)
    assert result.placed == {"link": 16}
    inodes = {path.stat().st_ino for path in source.rglob("*.dcm")}
    assert {path.stat().st_ino for path in data.rglob("*.dcm")} == inodes


def test_copies_share_no_inode(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    result = adopt(server, source, data, "copy")
    assert sum(result.placed.values()) == 16
    assert "link" not in result.placed
    inodes = {path.stat().st_ino for path in source.rglob("*.dcm")}
    assert not inodes & {path.stat().st_ino for path in data.rglob("*.dcm")}


def test_move_removes_adopted_files_and_empty_folders(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    retriever_classic(source, corpus)
    result = adopt(server, source, data, "move")
    assert (result.exit_code, result.images.adopted) == (0, 16)
    names = {path.name for path in source.rglob("*") if path.is_file()}
    assert names == {"metadata.csv", "LICENSE"}
    assert not any(path.name.startswith(NAME + "-") for path in source.rglob("*"))
    assert len(images_in(data)) == 16


def test_move_removes_nothing_from_the_cache_of_another_tool(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    """DVC has a hidden folder with a hard link to every file."""
    retriever_classic(source, corpus)
    cache = source / ".dvc" / "cache"
    cache.mkdir(parents=True)
    for number, path in enumerate(sorted(source.rglob("*.dcm"))):
        os.link(path, cache / f"{number:032x}")
    before = files_below(cache)
    result = adopt(server, source, data, "move")
    assert (result.images.adopted, result.images.duplicate, result.not_removed) == (16, 16, 0)
    assert files_below(cache) == before
    assert not list(source.rglob("*.dcm"))


def test_move_removes_no_file_that_was_not_adopted(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    series = one_series(corpus)
    flip_last_bit(any_file(source / "tciaDownload" / series.uid))
    other = max(series.uid for series in corpus)
    shutil.copyfile(any_file(source / "tciaDownload" / other), source / "a-copy")
    result = adopt(server, source, data, "move")
    assert (result.exit_code, result.series.adopted, result.images.staged) == (1, 3, 3)
    files = [path for path in source.rglob("*") if path.is_file() and path.name != "LICENSE"]
    assert sorted(path.parent.name for path in files) == [*[series.uid] * 4, other]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
@pytest.mark.parametrize("mode", ["link", "move", "copy"])
def test_files_are_copied_to_another_file_system(
    server: ArchiveServer, corpus: Corpus, data: Path, mode: Mode, tmp_path: Path
) -> None:
    source = Path("/dev/shm") / f"adopt-{os.getpid()}-{mode}"
    if source.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the same file system")
    try:
        tcia_utils(source, corpus)
        result = adopt(server, source, data, mode)
        assert (result.exit_code, result.placed) == (0, {"copy": 16})
        assert bool(list(source.rglob("*.dcm"))) == (mode != "move")
    finally:
        shutil.rmtree(source)


def test_move_removes_originals_of_series_that_were_complete_before(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    adopt(server, source, data, "copy")
    damaged_file = any_file(data)
    damaged_file.write_bytes(damaged_file.read_bytes()[:-1] + b"\xff")
    result = adopt(server, source, data, "move")
    assert (result.exit_code, result.images.already_complete, result.not_removed) == (0, 16, 1)
    assert len(list(source.rglob("*.dcm"))) == 1


def test_nothing_is_copied_without_enough_space(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcia_utils(source, corpus)
    full = shutil.disk_usage(source)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(NoSpaceError, match="copies of the files need"):
        adopt(server, source, data, "copy")
    assert images_in(data) == {}
    assert adopt(server, source, data, "link").exit_code == 0
    assert adopt(server, source, data, "copy").exit_code == 0  # nothing is left to copy


def test_originals_that_are_not_removed_are_counted(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source / ".dvc", [one_series(corpus)])
    result = adopt(server, source, data, "move")
    assert (result.exit_code, result.series.adopted, result.not_removed) == (0, 1, 4)
