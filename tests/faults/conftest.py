"""The fixture that all fault tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.scenario import Scenario, scenario


@pytest.fixture(name="scenario")
def _trial(tmp_path: Path) -> Iterator[Scenario]:
    """An archive with two series and no faults yet."""
    with scenario(tmp_path) as ready:
        yield ready
