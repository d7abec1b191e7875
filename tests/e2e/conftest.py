"""The archive that the command's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Faults
from tests.fakes.nbia_servers import small_archive


@pytest.fixture
def archive(faults: Faults) -> Iterator[ArchiveServer]:
    """Six series of two images, and what `faults` has go wrong."""
    with small_archive(faults) as server:
        yield server
