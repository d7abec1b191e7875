"""Linking, copying and moving."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tcia_covid.core.errors import (
    NoSpaceError,
)
from tcia_covid.store.placement import FilePlacer, Mode
from tests.fakes.corpus import Corpus
from tests.fakes.layouts import retriever_classic, tcia_utils
from tests.fakes.nbia import ArchiveServer
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
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    result = adopt(server, have, data)
    assert result.placed == {"link": 16}
    inodes = {path.stat().st_ino for path in have.rglob("*.dcm")}
    assert {path.stat().st_ino for path in data.rglob("*.dcm")} == inodes


def test_copies_share_no_inode(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    result = adopt(server, have, data, "copy")
    assert sum(result.placed.values()) == 16
    assert "link" not in result.placed
    inodes = {path.stat().st_ino for path in have.rglob("*.dcm")}
    assert not inodes & {path.stat().st_ino for path in data.rglob("*.dcm")}


def test_move_removes_adopted_files_and_empty_folders(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    retriever_classic(have, corpus)
    result = adopt(server, have, data, "move")
    assert (result.exit_code, result.images.adopted) == (0, 16)
    left = {path.name for path in have.rglob("*") if path.is_file()}
    assert left == {"metadata.csv", "LICENSE"}
    assert not any(path.name.startswith(NAME + "-") for path in have.rglob("*"))
    assert len(images_in(data)) == 16


def test_move_removes_nothing_from_the_cache_of_another_tool(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    """DVC has a hidden folder with a hard link to every file."""
    retriever_classic(have, corpus)
    cache = have / ".dvc" / "cache"
    cache.mkdir(parents=True)
    for number, path in enumerate(sorted(have.rglob("*.dcm"))):
        os.link(path, cache / f"{number:032x}")
    before = files_below(cache)
    result = adopt(server, have, data, "move")
    assert (result.images.adopted, result.images.duplicate, result.not_removed) == (16, 16, 0)
    assert files_below(cache) == before
    assert not list(have.rglob("*.dcm"))


def test_move_removes_no_file_that_was_not_adopted(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    series = one_series(corpus)
    flip_last_bit(any_file(have / "tciaDownload" / series.uid))
    other = max(one.uid for one in corpus)
    shutil.copyfile(any_file(have / "tciaDownload" / other), have / "a-copy")
    result = adopt(server, have, data, "move")
    assert (result.exit_code, result.series.adopted, result.images.staged) == (1, 3, 3)
    left = [path for path in have.rglob("*") if path.is_file() and path.name != "LICENSE"]
    assert sorted(path.parent.name for path in left) == [*[series.uid] * 4, other]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
@pytest.mark.parametrize("mode", ["link", "move", "copy"])
def test_files_are_copied_to_another_file_system(
    server: ArchiveServer, corpus: Corpus, data: Path, mode: Mode, tmp_path: Path
) -> None:
    have = Path("/dev/shm") / f"adopt-{os.getpid()}-{mode}"
    if have.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the same file system")
    try:
        tcia_utils(have, corpus)
        result = adopt(server, have, data, mode)
        assert (result.exit_code, result.placed) == (0, {"copy": 16})
        assert bool(list(have.rglob("*.dcm"))) == (mode != "move")
    finally:
        shutil.rmtree(have)


def test_move_removes_originals_of_series_that_were_complete_before(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    adopt(server, have, data, "copy")
    harmed = any_file(data)
    harmed.write_bytes(harmed.read_bytes()[:-1] + b"\xff")
    result = adopt(server, have, data, "move")
    assert (result.exit_code, result.images.already_complete, result.not_removed) == (0, 16, 1)
    assert len(list(have.rglob("*.dcm"))) == 1


def test_nothing_is_copied_without_enough_space(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcia_utils(have, corpus)
    full = shutil.disk_usage(have)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(NoSpaceError, match="copies of the files need"):
        adopt(server, have, data, "copy")
    assert images_in(data) == {}
    assert adopt(server, have, data, "link").exit_code == 0
    assert adopt(server, have, data, "copy").exit_code == 0  # nothing is left to copy


def test_originals_that_cannot_be_removed_are_counted(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcia_utils(have, [one_series(corpus)])
    monkeypatch.setattr(FilePlacer, "remove", lambda self, found, committed: False)
    result = adopt(server, have, data, "move")
    assert (result.exit_code, result.series.adopted, result.not_removed) == (0, 1, 4)
