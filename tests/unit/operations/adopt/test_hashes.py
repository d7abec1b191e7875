"""Files are verified by the archive's hashes; incomplete series are staged."""

from __future__ import annotations

from pathlib import Path

from tcia_covid.core.models import Check
from tcia_covid.operations.adopt_scan import Reason
from tcia_covid.operations.download import download_request
from tcia_covid.selection.request import Request
from tcia_covid.store.tree import Tree
from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.other_downloaders import tcia_utils
from tests.fakes.synthetic import synthetic_corpus, with_md5s, with_unpadded_md5s
from tests.unit.archive_helpers import nbia_of
from tests.unit.operations.adopt.helpers import (
    NAME,
    adopt,
    any_file,
    expected,
    file_with,
    images_in,
    one_series,
    options_of,
)


def test_a_complete_series_is_verified_by_one_request(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, [one_series(corpus)])
    adopt(server, source, data)
    endpoints = [record.endpoint for record in server.requests]
    assert endpoints == ["getSeriesMetadata", "getMD5Hierarchy"]
    receipt = Tree(data / NAME).complete_receipt(one_series(corpus).uid)
    assert receipt is not None
    assert receipt.check is Check.SERIES_MD5
    assert {image.source for image in receipt.images} == {"adopted"}


def test_stored_hashes_without_leading_zeros_match(source: Path, data: Path) -> None:
    series = with_unpadded_md5s(one_series(synthetic_corpus(NAME)))
    corpus = synthetic_corpus(NAME)
    corpus.put(series)
    tcia_utils(source, [series])
    with ArchiveServer(corpus, compression=1) as server:
        assert adopt(server, source, data).exit_code == 0
    assert images_in(data) == expected(series)


def test_a_series_without_any_hash_is_not_adopted(source: Path, data: Path) -> None:
    corpus = synthetic_corpus(NAME)
    series = one_series(corpus)
    corpus.put(with_md5s(series, {image.uid: " " for image in series.images}))
    tcia_utils(source, [series])
    with ArchiveServer(corpus, compression=1) as server:
        result = adopt(server, source, data)
    assert (result.exit_code, result.images.unverified, images_in(data)) == (1, 4, {})
    assert [series.reason for series in result.incomplete] == [Reason.NO_HASH]


def test_images_of_an_incomplete_series_are_staged_and_only_the_others_downloaded(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(source, [series])
    any_file(source).unlink()
    result = adopt(server, source, data)
    assert (result.exit_code, result.series.staged, result.images.staged) == (1, 1, 3)
    assert [series.reason for series in result.incomplete] == [Reason.INCOMPLETE]
    assert images_in(data) == {}
    before = len(server.requests)
    request = Request((series.uid,), str(data), options=options_of(server))
    assert download_request(request).exit_code == 0
    fetched = [
        request.endpoint for request in server.requests[before:] if "mage" in request.endpoint
    ]
    assert fetched == ["getSingleImage"]
    assert images_in(data) == expected(series)


def test_a_second_folder_completes_a_series_of_the_first(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path, tmp_path: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(source, [series])
    missing = any_file(source)
    missing.rename(tmp_path / "elsewhere.dcm")
    adopt(server, source, data)
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "elsewhere.dcm").rename(other / "x")
    result = adopt(server, other, data)
    assert (result.exit_code, result.series.adopted) == (0, 1)
    assert images_in(data) == expected(series)


def test_images_that_a_download_left_in_staging_are_used(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(source, [series])
    tree = Tree(data / NAME)
    tree.prepare()
    listed = next(
        listed_series for listed_series in _list(server) if listed_series.uid == series.uid
    )
    with tree.stage(listed, lambda count: None) as staging:
        staging.receive([series.images[0].read()], source="nbia")  # type: ignore[union-attr]
    file_with(source, series.images[0].read()).unlink()
    assert adopt(server, source, data).series.adopted == 1
    assert images_in(data) == expected(series)


def _list(server: ArchiveServer) -> list[object]:
    with nbia_of(server) as nbia:
        return list(nbia.list_collection(NAME))
