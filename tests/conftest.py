"""What all tests share: markers, Hypothesis profiles, and a simulated NBIA on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.fakes.corpus import Corpus, demo_corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_client import Client
from tests.fakes.nbia_faults import Faults

settings.register_profile("default", deadline=None)
settings.register_profile("long", deadline=None, max_examples=20_000)
settings.load_profile("default")
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and those that generate their input."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in ("e2e", "faults"):
            item.add_marker(folder)
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("long")


@pytest.fixture
def corpus() -> Corpus:
    """The contents of the demo archive: files of real scanners."""
    return demo_corpus()


@pytest.fixture
def server(corpus: Corpus) -> Iterator[ArchiveServer]:
    """The simulated NBIA, listening on loopback."""
    with ArchiveServer(corpus, compression=1) as running:
        yield running


@pytest.fixture
def v1(server: ArchiveServer) -> Iterator[Client]:
    """A client of v1 of `server`."""
    with Client(server.v1_url) as client:
        yield client


@pytest.fixture
def v4(server: ArchiveServer) -> Iterator[Client]:
    """A client of v4 of `server`."""
    with Client(server.base_url) as client:
        yield client


@pytest.fixture
def faults() -> Faults:
    """The faults of an archive: none yet."""
    return Faults()
