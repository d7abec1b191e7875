"""Damage is recorded for the next download; other runs and cancellation."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    DestinationError,
    InterruptedRunError,
)
from tcia_covid.core.events import DamageFound, Event, ImagesChecked, Notice
from tcia_covid.core.models import Receipt
from tcia_covid.operations.verify import verify_directory
from tcia_covid.operations.verify_files import Reason
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.tree import Tree
from tests.unit.operations.verify.helpers import damage_in, image_files, needs_permissions
from tests.unit.trees import files, grow, series_of, stage


def test_the_record_of_a_repaired_series_is_removed(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    victim = files(tree, receipt)[0]
    content = victim.read_bytes()
    victim.unlink()
    verify_directory(tmp_path)
    assert tree.damage.uids() == {receipt.series.uid}
    victim.write_bytes(content)
    assert verify_directory(tmp_path).exit_code == 0
    assert tree.damage.uids() == set()


def test_a_damaged_series_of_a_running_download_is_not_checked(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    grow(tree, series_of(2))
    uid = receipt.series.uid
    tree.damage.write(uid, [{"file": "x"}])
    with tree.stage(receipt.series, lambda count: None):
        result = verify_directory(tmp_path)
    assert (result.series.in_progress, result.series.checked, result.exit_code) == (1, 1, 0)


def test_a_series_that_a_killed_run_left_in_staging_is_damaged(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    tree.damage.write(receipt.series.uid, [{"file": "x"}])
    with tree.stage(receipt.series, lambda count: None):
        pass
    result = verify_directory(tmp_path)
    assert {reason for _, reason in damage_in(result)} == {Reason.MISSING}
    assert len(result.damage) == 3


def test_a_series_that_is_replaced_during_the_check_is_checked_again(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    """The receipt is read, then an update replaces the series, then the files are hashed."""
    fresh = replace(receipt, images=receipt.images[:2], finished="2099-01-01T00:00:00Z")
    checks = iter([receipt, fresh, fresh])
    tree_read = type(tree.receipts).read

    def read(self: object, uid: str) -> StoredReceipt:
        return StoredReceipt(next(checks), "")

    files(tree, receipt)[2].unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tree.receipts), "read", read)
        result = verify_directory(tmp_path)
    assert type(tree.receipts).read is tree_read
    assert (result.series.intact, result.images.checked, result.damage) == (1, 2, [])


def test_a_series_in_staging_is_no_damage(tree: Tree, tmp_path: Path) -> None:
    stage(tree, series_of(1), images=2)
    result = verify_directory(tmp_path)
    assert (result.series.checked, result.damage) == (0, [])


def test_damage_is_recorded_if_the_locks_folder_is_missing(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.rmtree(tree.state / "locks")
    files(tree, receipt)[0].unlink()
    assert verify_directory(tmp_path).recorded
    assert tree.damage.uids() == {receipt.series.uid}


def test_damage_is_reported_if_it_cannot_be_recorded(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    files(tree, receipt)[0].unlink()
    for name in ("locks", "tmp"):
        shutil.rmtree(tree.state / name)
        (tree.state / name).write_text("a file in place of a folder")
    events: list[Event] = []
    result = verify_directory(tmp_path, emit=events.append)
    assert damage_in(result) == [(image_files(receipt)[0], Reason.MISSING)]
    assert not result.recorded
    assert [type(event) for event in events] == [ImagesChecked, DamageFound, Notice]


@needs_permissions
def test_damage_of_a_read_only_tree_is_reported(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    files(tree, receipt)[0].unlink()
    folders = [tree.state, tree.state / "locks"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        result = verify_directory(tmp_path)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert (len(result.damage), result.recorded) == (1, False)


def test_an_unreadable_state_folder_is_an_error(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.rmtree(tree.receipts.folder)
    tree.receipts.folder.write_text("in the way")
    with pytest.raises(DestinationError, match="cannot be read"):
        verify_directory(tmp_path)


def test_cancellation_ends_the_check(tree: Tree, tmp_path: Path) -> None:
    for number in range(1, 80):
        grow(tree, series_of(number), images=1)
    stop = CancelToken()
    checked = 0

    def interrupt(event: Event) -> None:
        nonlocal checked
        if isinstance(event, ImagesChecked):
            checked += event.images
            stop.set()

    with pytest.raises(InterruptedRunError):
        verify_directory(tmp_path, jobs=1, stop=stop, emit=interrupt)
    assert checked < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("verify")]
