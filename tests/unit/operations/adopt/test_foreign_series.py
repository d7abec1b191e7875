"""Series of other collections and of no archive are reported."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.other_downloaders import flat, tcia_utils
from tests.fakes.synthetic import synthetic_corpus
from tests.unit.operations.adopt.helpers import COLLECTION, NAME, adopt


def test_series_of_no_archive_are_foreign(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    flat(source, synthetic_corpus("OTHER", seed=7, patients=1, series_per_patient=1))
    result = adopt(server, source, data)
    assert (result.series.adopted, result.series.foreign, result.images.foreign) == (4, 1, 4)
    assert result.exit_code == 1


def test_with_a_collection_no_other_series_are_adopted(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    others = synthetic_corpus("OTHER", seed=7, patients=1, series_per_patient=1)
    for series in others:
        corpus.put(series)
    tcia_utils(source, corpus)
    result = adopt(server, source, data, collection=COLLECTION)
    assert (result.exit_code, result.series.adopted, result.series.foreign) == (0, 4, 1)
    assert not (data / "OTHER").exists()


def test_series_go_to_the_folders_of_their_collections(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    for series in synthetic_corpus("OTHER", seed=7, patients=1, series_per_patient=1):
        corpus.put(series)
    tcia_utils(source, corpus)
    assert adopt(server, source, data).collections == {NAME: 4, "OTHER": 1}
    assert (data / "OTHER" / "metadata.csv").is_file()


def test_no_series_of_the_collection_gives_exit_code_1(
    server: ArchiveServer, source: Path, data: Path
) -> None:
    flat(source, synthetic_corpus("OTHER", seed=7, patients=1, series_per_patient=1))
    result = adopt(server, source, data, collection=COLLECTION)
    assert (result.exit_code, result.series.adopted, result.series.foreign) == (1, 0, 1)
    assert not data.exists()
