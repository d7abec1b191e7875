"""Series of the size that real scanners make are complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command import QUICK, run
from tests.fakes.nbia import ArchiveServer
from tests.fakes.synthetic import synthetic_corpus
from tests.unit.archive_helpers import expected_files, files_of


@pytest.mark.parametrize(
    ("modality", "images", "rows", "columns"),
    [("CT", 300, 512, 512), ("CR", 1, 2500, 2000)],
    ids=["CT of 300 slices", "radiograph"],
)
def test_a_full_size_series_arrives_with_its_hashes(
    tmp_path: Path, modality: str, images: int, rows: int, columns: int
) -> None:
    corpus = synthetic_corpus(
        "FULL",
        patients=1,
        series_per_patient=1,
        images_per_series=images,
        rows=rows,
        columns=columns,
        modality=modality,
    )
    (series,) = corpus
    with ArchiveServer(corpus, compression=1) as server:
        options = ["--nbia-url", server.base_url, "--source", "nbia", *QUICK]
        result = run("download", "FULL", "-o", tmp_path / "data", *options, home=tmp_path)
    assert result.returncode == 0, result.stderr
    found = files_of(tmp_path / "data" / "FULL")
    assert {name: md5 for name, md5 in found.items() if name.endswith(".dcm")} == expected_files(
        series
    )
