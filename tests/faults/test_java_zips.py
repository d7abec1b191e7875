"""ZIPs that java.util.zip wrote as the archive does, of a real CT series of five slices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.core.errors import IncompleteSeriesError
from tcia_covid.core.models import Check, State
from tcia_covid.store.tree import Tree
from tests.fakes.corpus import DemoSeries, demo_corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Answer, Faults, Status
from tests.unit.archive_helpers import expected_files, fetch, files_of

DATA = Path(__file__).resolve().parents[1] / "data"
BROKEN = ("getImage-missing-image.zip", "getImage-truncated-entry.zip")


def _served(name: str, *more: Status) -> tuple[ArchiveServer, DemoSeries]:
    """An archive that answers with one of the ZIPs, and the series in it."""
    corpus = demo_corpus()
    series = next(item for item in corpus if len(item.images) == 5)
    body = (DATA / name).read_bytes()
    content_type = "application/octet-stream"
    zipped = Answer("getImage", body=body, content_type=content_type, times=None)
    return ArchiveServer(corpus, interceptor=Faults(zipped, *more)), series


def test_the_complete_zip_is_accepted_as_it_is(tmp_path: Path) -> None:
    server, series = _served("getImage-complete.zip")
    tree = Tree(tmp_path)
    tree.prepare()
    with server:
        outcome = fetch(server, tree, series.uid)
        assert server.count("getImage") == 1
        assert server.count("getSingleImage") == 0
    assert outcome.receipt is not None
    assert outcome.receipt.check is Check.MD5
    assert files_of(tmp_path) == expected_files(series)


@pytest.mark.parametrize("name", BROKEN)
def test_fault_03_a_valid_zip_with_missing_images_is_not_accepted(
    tmp_path: Path, name: str
) -> None:
    server, series = _served(name, Status("getSingleImage", code=500, times=None))
    tree = Tree(tmp_path)
    tree.prepare()
    with server, pytest.raises(IncompleteSeriesError):
        fetch(server, tree, series.uid)
    assert files_of(tmp_path) == {}


@pytest.mark.parametrize("name", BROKEN)
def test_fault_03_images_missing_in_a_valid_zip_are_downloaded(tmp_path: Path, name: str) -> None:
    server, series = _served(name)
    tree = Tree(tmp_path)
    tree.prepare()
    with server:
        assert fetch(server, tree, series.uid).state is State.COMPLETE
    assert files_of(tmp_path) == expected_files(series)
