"""Locks between runs, of one user and of several, on file systems good and bad."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tcia_covid.core.errors import LockedError
from tcia_covid.core.models import Series, State
from tcia_covid.store.locks import Lock
from tests.unit.transfer.helpers import FakeArchive, Run, listed
from tests.unit.trees import files, new_tree, stage

GROUP, ALICE, BOB = 60000, 60001, 60002
as_root = pytest.mark.skipif(
    os.name == "nt" or os.geteuid() != 0, reason="only root may act for several users"
)


@contextmanager
def acting_for(user: int) -> Iterator[None]:
    """Be a user of the group for a while."""
    os.setegid(GROUP)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder of the group."""
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, 0, GROUP)
    folder.chmod(0o770)
    yield folder
    shutil.rmtree(folder)


def test_only_one_run_has_a_lock_which_is_free_after_it(tmp_path: Path) -> None:
    path = tmp_path / "1.lock"
    holder = f"series 1 is locked by another run .process {os.getpid()} on"
    with Lock(path, "series 1"), pytest.raises(LockedError, match=holder):
        Lock(path, "series 1").__enter__()
    with Lock(path, "series 1"):
        pass
    assert os.name == "nt" or not path.exists()


def test_the_lock_file_of_a_dead_run_locks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "1.lock"
    path.write_text("not what any run writes")
    with Lock(path, "series 1"):
        pass


@as_root
@pytest.mark.parametrize("mask", [0o002, 0o022])
def test_the_lock_of_another_user_is_locked_while_that_run_lives_and_then_free(
    shared: Path, mask: int
) -> None:
    path = shared / "1.lock"
    with umask(mask):
        with acting_for(ALICE):
            lock = Lock(path, "series 1").__enter__()
        with acting_for(BOB), pytest.raises(LockedError):
            Lock(path, "series 1").__enter__()
        with acting_for(ALICE):
            lock.__exit__(None, None, None)
            path.write_text("a killed run left this")
        with acting_for(BOB), Lock(path, "series 1"):
            pass
    assert not path.exists()


@as_root
def test_a_lock_that_is_private_to_another_user_counts_as_locked(shared: Path) -> None:
    path = shared / "1.lock"
    with umask(0o077), acting_for(ALICE):
        path.touch()
    with acting_for(BOB), pytest.raises(LockedError, match="another user") as caught:
        Lock(path, "series 1").__enter__()
    assert str(path) in caught.value.hint


@as_root
def test_a_read_only_folder_does_not_count_as_locked(shared: Path) -> None:
    shared.chmod(0o750)
    with acting_for(BOB), pytest.raises(PermissionError):
        Lock(shared / "1.lock", "series 1").__enter__()


@as_root
def test_a_user_of_the_group_resumes_and_repairs_another_users_download(shared: Path) -> None:
    series = listed(1)
    with umask(0o002):
        with acting_for(ALICE):
            tree = new_tree(shared)
            stage(tree, series, 1)
            (tree.state / "locks" / f"{series.uid}.lock").touch()
        with acting_for(BOB):
            run = Run(new_tree(shared), FakeArchive())([series])
            assert run.states == {series.uid: State.COMPLETE}
        with acting_for(ALICE):
            receipt = tree.complete_receipt(series.uid)
            assert receipt is not None
            files(tree, receipt)[0].unlink()
            run = Run(new_tree(shared), FakeArchive())([series])
            assert run.states == {series.uid: State.COMPLETE}


def test_a_run_continues_without_a_lock_where_open_files_have_other_identities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "samestat", lambda one, other: False)
    with Lock(tmp_path / "1.lock", "series 1"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_files_and_folders_get_the_permissions_of_the_umask(tmp_path: Path) -> None:
    modes: dict[str, int] = {}

    def look(series: Series) -> None:
        for path in tmp_path.rglob("*"):
            modes[path.name] = path.stat().st_mode & 0o777

    with umask(0o002):
        tree, series = new_tree(tmp_path), listed(1)
        Run(tree, FakeArchive(look))([series])
        look(series)
    assert f"{series.uid}.lock" in modes
    assert f"{series.uid}.json" in modes
    assert set(modes.values()) == {0o664, 0o775}
