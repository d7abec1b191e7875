"""An archive with one collection, a folder to adopt, and the output folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.synthetic import synthetic_corpus
from tests.unit.operations.adopt.helpers import NAME


@pytest.fixture
def corpus() -> Corpus:
    """Two patients, four series, sixteen images."""
    return synthetic_corpus(NAME)


@pytest.fixture
def server(corpus: Corpus) -> Iterator[ArchiveServer]:
    with ArchiveServer(corpus, compression=1) as running:
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder to adopt."""
    folder = tmp_path / "have"
    folder.mkdir()
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The output folder."""
    return tmp_path / "data"
