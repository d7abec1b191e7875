"""The fixture that all fault tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.trial import Trial, trial


@pytest.fixture(name="trial")
def _trial(tmp_path: Path) -> Iterator[Trial]:
    """An archive with two series and no faults yet."""
    with trial(tmp_path) as ready:
        yield ready
