"""The folders that other programs leave are adopted."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tcia_covid.catalog.registry import load_registry
from tcia_covid.demo.walkthrough import REGISTRY as DEMO_REGISTRY
from tcia_covid.operations.adopt import adopt_folder
from tcia_covid.operations.download import download_request
from tcia_covid.operations.verify import verify_directory
from tcia_covid.selection.request import Options, Request
from tests.fakes.corpus import Corpus, demo_corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.other_downloaders import LAYOUTS, tcia_utils, tcia_utils_zipped
from tests.unit.archive_helpers import QUICK
from tests.unit.operations.adopt.helpers import (
    NAME,
    adopt,
    any_file,
    expected,
    files_below,
    images_in,
    one_series,
    options_of,
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_adopted_and_not_changed(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path, layout: str
) -> None:
    LAYOUTS[layout](source, corpus)
    before = files_below(source)
    result = adopt(server, source, data)
    assert (result.exit_code, result.series.adopted, result.images.adopted) == (0, 4, 16)
    assert images_in(data) == {k: v for series in corpus for k, v in expected(series).items()}
    assert files_below(source) == before
    assert not result.damaged + result.incomplete + result.foreign + result.duplicates


@pytest.mark.parametrize("layout", LAYOUTS)
def test_real_scanner_files_are_adopted_from_every_layout(
    source: Path, data: Path, layout: str
) -> None:
    corpus = demo_corpus()
    LAYOUTS[layout](source, [series for series in corpus if series.collection == "DEMO-CT"])
    with ArchiveServer(corpus, compression=1) as server:
        found = adopt(server, source, data)
    assert (found.exit_code, found.series.adopted, found.images.adopted) == (0, 4, 53)


def test_a_later_download_downloads_nothing(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    adopt(server, source, data)
    summary = download_request(Request((NAME,), str(data), options=options_of(server)))
    assert (summary.already_complete, summary.exit_code) == (4, 0)
    assert server.count("getImage") == 0
    assert verify_directory(data, deep=True).exit_code == 0


def test_report_files_are_written(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    adopt(server, source, data)
    manifest = (data / NAME / "manifest-md5.txt").read_text()
    assert len(manifest.splitlines()) == 16
    assert "adopted" in (data / NAME / "metadata.csv").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need privileges on Windows")
def test_other_files_zip_files_and_links_are_counted_and_not_changed(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, [one_series(corpus)])
    tcia_utils_zipped(source, list(corpus)[1:])
    (source / "link.dcm").symlink_to(any_file(source))
    (source / "loop").symlink_to(source, target_is_directory=True)
    os.mkfifo(source / "pipe.dcm")
    result = adopt(server, source, data)
    assert (result.files.symlinks, result.files.not_dicom, len(result.files.zip_files)) == (2, 2, 3)
    assert (result.exit_code, result.series.adopted) == (0, 1)


def test_layout_and_registry_can_be_chosen(source: Path, data: Path) -> None:
    corpus = demo_corpus()
    tcia_utils(source, [series for series in corpus if series.collection == "DEMO-CT"])
    registry = (str(DEMO_REGISTRY),)
    with ArchiveServer(corpus, compression=1) as server:
        chosen = Options(
            source="nbia",
            nbia_url=server.base_url,
            http=QUICK,
            durable=False,
            layout="{modality}/{series}",
            registry=registry,
        )
        found = load_registry(registry).find("demo-tomography")
        result = adopt_folder(source, data, collection=found, options=chosen)
    assert result.exit_code == 0
    assert {path.parent.parent.name for path in data.rglob("*.dcm")} == {"CT"}
