"""Intact series are compared with the archive's hashes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    UnreachableError,
)
from tcia_covid.core.events import Event, Notice
from tcia_covid.core.models import Receipt, Series, series_md5
from tcia_covid.operations.verify import verify_directory
from tcia_covid.operations.verify_files import Reason
from tcia_covid.store.tree import Tree
from tests.fakes.nbia import ArchiveServer
from tests.unit.archive_helpers import fetch, nbia_of, pair
from tests.unit.trees import files, grow, new_tree, series_of


@pytest.mark.parametrize("zeros", [False, True], ids=["padded", "without leading zeros"])
def test_one_request_verifies_a_series(server: ArchiveServer, tmp_path: Path, zeros: bool) -> None:
    series = pair(server)
    images = tuple(replace(i, md5=i.md5.lstrip("0") if zeros else i.md5) for i in series.images)
    server.corpus.put(replace(series, images=images))
    tree = new_tree(tmp_path, series.collection)
    fetch(server, tree, series.uid)
    before = server.count("getMD5Hierarchy")
    with nbia_of(server) as nbia:
        result = verify_directory(tmp_path, archive=nbia)
    assert server.count("getMD5Hierarchy") == before + 1
    assert result.online is not None
    assert (result.online.verified, result.exit_code) == (1, 0)


def test_a_series_that_changed_in_the_archive_is_damage(
    server: ArchiveServer, tmp_path: Path
) -> None:
    series = pair(server)
    tree = new_tree(tmp_path, series.collection)
    receipt = fetch(server, tree, series.uid).receipt
    assert receipt is not None
    changed = replace(series.images[0], md5="f" * 32)
    server.corpus.put(replace(series, images=(changed, *series.images[1:])))
    with nbia_of(server) as nbia:
        result = verify_directory(tree.root, archive=nbia)
    (damage,) = result.damage
    assert (damage.file, damage.reason) == (receipt.folder, Reason.CHANGED)
    assert (damage.repairable, damage.option) == (True, "--update")
    assert tree.changed.uids() == {series.uid}
    assert (result.series.damaged, result.series.intact, result.images.damaged) == (1, 0, 0)
    assert tree.damage.uids() == set(), "the files match their receipts"


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_hash_counts_as_no_hash(server: ArchiveServer, tmp_path: Path, blank: str) -> None:
    series = pair(server)
    images = (replace(series.images[0], md5=blank), *series.images[1:])
    server.corpus.put(replace(series, images=images))
    fetch(server, new_tree(tmp_path, series.collection), series.uid)
    with nbia_of(server) as nbia:
        result = verify_directory(tmp_path, archive=nbia)
    assert result.online is not None
    assert (result.online.no_hash, result.series.unverified, result.exit_code) == (1, 1, 0)


def test_damaged_series_are_not_compared(server: ArchiveServer, tmp_path: Path) -> None:
    tree = new_tree(tmp_path, pair(server).collection)
    receipt = fetch(server, tree, pair(server).uid).receipt
    assert receipt is not None
    files(tree, receipt)[0].unlink()
    before = server.count("getMD5Hierarchy")
    with nbia_of(server) as nbia:
        verify_directory(tmp_path, archive=nbia)
    assert server.count("getMD5Hierarchy") == before


class HashArchive:
    """An archive with hashes only, or one that fails."""

    name = "nbia"

    def __init__(self, stored: dict[str, str], error: ArchiveError | None = None) -> None:
        self.stored = stored
        self.error = error
        self.failing: set[str] = set()
        self.asked = 0

    def series_md5(self, series: Series) -> str | None:
        self.asked += 1
        if self.error is not None and (not self.failing or series.uid in self.failing):
            raise self.error
        own = [md5 for uid, md5 in self.stored.items() if uid.rpartition(".")[0] == series.uid]
        return series_md5(own) if own else None

    def image_md5(self, series: Series, uid: str) -> str | None:
        return self.stored.get(uid)


def hashes_of(*receipts: Receipt) -> dict[str, str]:
    return {image.uid: image.md5 for receipt in receipts for image in receipt.images}


def test_hashes_match_if_some_omit_leading_zeros(tree: Tree, tmp_path: Path) -> None:
    receipt = grow(tree, series_of(1), images=90)
    zeros = [image for image in receipt.images if image.md5.startswith("0")]
    assert len(zeros) > 1
    stored = hashes_of(receipt) | {zeros[0].uid: zeros[0].md5.lstrip("0")}
    result = verify_directory(tmp_path, archive=HashArchive(stored))
    assert result.online is not None
    assert (result.online.verified, result.damage) == (1, [])
    del stored[zeros[1].uid]
    assert verify_directory(tmp_path, archive=HashArchive(stored)).online.changed == 1


def test_series_without_a_hash_are_counted(tree: Tree, receipt: Receipt, tmp_path: Path) -> None:
    result = verify_directory(tmp_path, archive=HashArchive({}))
    assert result.online is not None
    assert (result.online.no_hash, result.exit_code) == (1, 0)


def test_no_response_for_one_series_gives_exit_code_1(tree: Tree, tmp_path: Path) -> None:
    receipts = [grow(tree, series_of(n)) for n in (1, 2)]
    archive = HashArchive(hashes_of(*receipts), BadResponseError("an HTML page"))
    archive.failing = {receipts[0].series.uid}
    result = verify_directory(tmp_path, archive=archive)
    assert result.online is not None
    assert (result.online.verified, result.online.no_response, result.exit_code) == (1, 1, 1)


def test_occasional_errors_do_not_end_the_comparison(tree: Tree, tmp_path: Path) -> None:
    receipts = [grow(tree, series_of(number), images=1) for number in range(1, 13)]
    archive = HashArchive(hashes_of(*receipts), BadResponseError("an HTML page", retryable=True))
    uids = sorted(receipt.series.uid for receipt in receipts)
    archive.failing = set(uids[::2])
    result = verify_directory(tmp_path, archive=archive, jobs=1)
    assert result.online is not None
    assert (result.online.verified, result.online.no_response) == (6, 6)


def test_an_unreachable_archive_is_skipped(tree: Tree, tmp_path: Path) -> None:
    for number in range(1, 31):
        grow(tree, series_of(number), images=1)
    archive = HashArchive({}, UnreachableError("no route"))
    events: list[Event] = []
    result = verify_directory(tmp_path, archive=archive, jobs=2, emit=events.append)
    assert result.online is not None
    assert (result.online.no_response, result.series.intact, result.exit_code) == (30, 30, 3)
    assert archive.asked < 20
    assert len([event for event in events if isinstance(event, Notice)]) == 1
