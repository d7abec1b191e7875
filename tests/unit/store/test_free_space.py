"""Room on the disk: for images, and for what is written about them."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tcia_covid.core.errors import NoSpaceError
from tcia_covid.store.free_space import check_space, free_bytes, reserve_of

GB = 10**9


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=count)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def test_receipts_and_reports_need_space_in_proportion_to_images() -> None:
    """COVID-19-NY-SBU's receipts and manifest have 250 MB, its files end in 1 GB of blank."""
    assert reserve_of(0) == 64 * 1024 * 1024
    assert reserve_of(330 * GB) - reserve_of(0) == 1_650_000_000


def test_too_little_space_is_an_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 261 * GB)
    with pytest.raises(NoSpaceError) as refusal:
        check_space(str(tmp_path), 260 * GB, "the download needs", "or take less", print)
    assert "has 261.0 GB free, the download needs 260.0 GB, and 1.4 GB must stay free" in str(
        refusal.value
    )
    assert refusal.value.hint == "free 367.1 MB more, or take less; --no-space-check ignores this"


def test_nothing_needs_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 0)
    check_space(str(tmp_path), 0, "the download needs", "or take less", print)


@pytest.mark.parametrize("usage", [OSError(errno.ENOSYS, "Function not implemented"), (0, 0, 0)])
def test_unknown_free_space_is_reported_and_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usage: OSError | tuple[int, int, int]
) -> None:
    def disk_usage(_: str) -> Usage:
        if isinstance(usage, OSError):
            raise usage
        return Usage(*usage)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    notices: list[str] = []
    check_space(str(tmp_path), GB, "the download needs", "or take less", notices.append)
    assert free_bytes(tmp_path) is None
    reason = f"the free space of {tmp_path} is unknown: its file system does not report it"
    assert notices == [f"{reason}; the download needs 1.0 GB"]
