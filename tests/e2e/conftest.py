"""The archive that the command's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.archive import small_archive
from tests.fakes.faults import Faults
from tests.fakes.nbia import ArchiveServer


@pytest.fixture
def archive(faults: Faults) -> Iterator[ArchiveServer]:
    """Six series of two images, and what `faults` has go wrong."""
    with small_archive(faults) as server:
        yield server
