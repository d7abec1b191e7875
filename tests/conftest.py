"""What all tests share: the demonstration archive on loopback, and the real command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tcia_covid.demo.corpus import Corpus, demo_corpus
from tests.fakes.client import Client
from tests.fakes.faults import Faults
from tests.fakes.nbia import ArchiveServer

settings.register_profile("default", deadline=None)
settings.register_profile("long", deadline=None, max_examples=20_000)
settings.load_profile("default")


@pytest.fixture
def corpus() -> Corpus:
    """The demonstration archive's content: real scanner files."""
    return demo_corpus()


@pytest.fixture
def server(corpus: Corpus) -> Iterator[ArchiveServer]:
    """The demonstration archive, listening on loopback."""
    with ArchiveServer(corpus, compression=1) as running:
        yield running


@pytest.fixture
def v1(server: ArchiveServer) -> Iterator[Client]:
    """A client of the first generation of `server`."""
    with Client(server.v1_url) as client:
        yield client


@pytest.fixture
def v4(server: ArchiveServer) -> Iterator[Client]:
    """A client of the fourth generation of `server`."""
    with Client(server.base_url) as client:
        yield client


@pytest.fixture
def faults() -> Faults:
    """What goes wrong with an archive: nothing yet."""
    return Faults()
