"""Which folders can be adopted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import (
    NotDicomError,
    RequestError,
    UsageError,
)
from tcia_covid.operations.verify import verify_directory
from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.other_downloaders import retriever_classic, tcia_utils, tcia_utils_zipped
from tests.unit.operations.adopt.helpers import NAME, adopt, any_file, files_below, one_series


def test_a_folder_inside_the_output_can_be_adopted(
    server: ArchiveServer, corpus: Corpus, data: Path
) -> None:
    retriever_classic(data / "from-the-retriever", corpus)
    assert adopt(server, data / "from-the-retriever", data).series.adopted == 4


def test_the_output_folder_itself_can_be_adopted_repeatedly(
    server: ArchiveServer, corpus: Corpus, data: Path
) -> None:
    tcia_utils(data, list(corpus)[:2])
    assert adopt(server, data, data).series.adopted == 2
    tcia_utils(data, corpus)
    result = adopt(server, data, data)
    assert (result.series.adopted, result.series.already_complete, result.series.found) == (2, 2, 4)
    assert verify_directory(data / NAME).exit_code == 0


def test_a_folder_of_the_layout_is_refused(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    adopt(server, source, data)
    for folder in (data / NAME, data / NAME / one_series(corpus).patient.id):
        with pytest.raises(RequestError, match="own folders"):
            adopt(server, folder, data)


def test_an_output_folder_without_other_images_needs_no_import(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    adopt(server, source, data)
    with pytest.raises(RequestError, match="no DICOM file") as refusal:
        adopt(server, data, data)
    assert "need no import" in refusal.value.hint


def test_files_in_the_destination_are_refused(
    server: ArchiveServer, corpus: Corpus, data: Path
) -> None:
    series = one_series(corpus)
    folder = data / NAME / series.patient.id / series.study.uid / series.uid
    tcia_utils(folder, [series])
    before = files_below(data)
    for place in (data, data / NAME):
        with pytest.raises(RequestError, match="is the destination of the series") as refusal:
            adopt(server, place, data)
        assert "--output" in refusal.value.hint
    assert files_below(data) == before


def test_a_tree_of_this_program_elsewhere_is_adopted_and_not_moved(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path, tmp_path: Path
) -> None:
    tcia_utils(source, list(corpus)[:3])
    tcia_utils(source, [])
    any_file(source).unlink()  # one series waits in staging there
    old = tmp_path / "old"
    adopt(server, source, old)
    before = files_below(old)
    result = adopt(server, old, data)
    assert (result.series.adopted, result.images.staged) == (2, 3)
    assert files_below(old) == before
    for below in (old, old / NAME, next((old / NAME).glob("*/*/*"))):
        with pytest.raises(UsageError, match="receipts"):
            adopt(server, below, tmp_path / "third", "move")


@pytest.mark.parametrize("name", ["nothing", "empty", "zips"])
def test_a_folder_without_dicom_files_is_refused(
    server: ArchiveServer, corpus: Corpus, data: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    tcia_utils_zipped(tmp_path / "zips", corpus)
    with pytest.raises(RequestError) as refusal:
        adopt(server, tmp_path / name, data)
    assert refusal.value.hint


def test_a_collection_that_is_not_dicom_is_refused(
    server: ArchiveServer, source: Path, data: Path
) -> None:
    with pytest.raises(NotDicomError):
        adopt(server, source, data, collection=load_registry().find("CT Images in COVID-19"))
