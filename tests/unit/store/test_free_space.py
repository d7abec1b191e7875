"""Room on the disk: for images, and for what is written about them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tcia_covid.core.errors import NoSpaceError
from tcia_covid.store.free_space import check_space, space_needed

GB = 10**9


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=count)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def test_what_is_written_about_images_takes_room_as_they_do() -> None:
    """COVID-19-NY-SBU's receipts and manifest have 250 MB, its files end in 1 GB of blank."""
    assert space_needed(0) == 64 * 1024 * 1024
    assert space_needed(330 * GB) - space_needed(0) == 1_650_000_000


def test_too_little_room_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 261 * GB)
    with pytest.raises(NoSpaceError) as refusal:
        check_space(str(tmp_path), 260 * GB, "the download needs", "or take less")
    assert "has 261.0 GB free, the download needs 260.0 GB and 1.4 GB to spare" in str(
        refusal.value
    )
    assert refusal.value.hint == "free 367.1 MB more, or take less"


def test_nothing_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 0)
    check_space(str(tmp_path), 0, "the download needs", "or take less")
