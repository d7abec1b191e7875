"""Row 35: links, FIFOs and devices in the state and series folders, and damaged receipts."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.core.errors import DestinationError, PermissionDeniedError
from tcia_covid.core.files import is_foreign_link
from tcia_covid.operations.relayout import relayout_directory
from tcia_covid.operations.status import read_status
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store.locks import Lock
from tests.faults.scenario import NAME, Scenario
from tests.waiting import LONG

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, FIFOs and owners")
PRECIOUS = b"somebody's work"
OTHER_USER = 12345


def _fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, _: Path) -> None:
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"/proc/self/fd/{handle}/{path.name}")
    finally:
        os.close(handle)


def _device(path: Path, _: Path) -> None:
    path.symlink_to("/dev/zero")


def _link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


STATE_FILES = (
    "locks/{uid}.lock",
    "locks/reports.lock",
    "series/{uid}.json",
    "damaged/{uid}.json",
    "failed/{uid}.json",
    "staging/{uid}/dead/.origins",
    "staging/{uid}/dead/{uid}.1.dcm.staged",
    "request.json",
    "reports.json",
    "reports.begun",
    "program",
)


@pytest.fixture(name="victim")
def _victim(tmp_path: Path) -> Iterator[Path]:
    """A file outside the tree, which must not change."""
    path = tmp_path / "precious"
    path.write_bytes(PRECIOUS)
    yield path
    assert path.read_bytes() == PRECIOUS


@contextmanager
def _without_waiting(fifo: Path) -> Iterator[None]:
    """Fail if the program waits for the other end of a FIFO, which is opened after a while."""
    is_late = threading.Event()

    def release() -> None:
        is_late.set()
        if fifo.is_fifo():
            os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))

    timer = threading.Timer(LONG, release)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
    assert not is_late.is_set(), f"waited for {fifo}"


@pytest.mark.parametrize("plant", [_fifo, _socket, _device, _link, _hard_link])
@pytest.mark.parametrize("file", STATE_FILES)
def test_fault_35_a_special_file_or_link_in_the_state_folder(
    scenario: Scenario, victim: Path, file: str, plant: Callable[[Path, Path], None]
) -> None:
    scenario.download()
    sound = scenario.receipt()
    path = scenario.tree.state / file.format(uid=scenario.series.uid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    plant(path, victim)
    (scenario.tree.path(sound) / sound.images[0].file).unlink()  # so that everything is written
    with _without_waiting(path):
        read_status(scenario.output)
        verify_directory(scenario.output)
        summary = scenario.download()
    if path.name.endswith(".lock"):
        assert summary.exit_code == 4, "it is unknown which run works on the series"
        assert isinstance(summary.error, DestinationError)
        assert str(path) in summary.error.message
        path.unlink()
        summary = scenario.download()
    scenario.assert_complete(summary)


def test_fault_35_a_lock_is_never_opened_through_a_link(tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "series.lock"
    path.symlink_to(victim)
    with pytest.raises(OSError, match="it is a symbolic link"), Lock(path, "a series"):
        pass
    path.unlink()
    path.hardlink_to(victim)
    with pytest.raises(OSError, match="it is a hard link"), Lock(path, "a series"):
        pass


@pytest.mark.parametrize("plant", [_fifo, _socket, _device])
def test_fault_35_a_special_file_in_place_of_an_image(
    scenario: Scenario, victim: Path, plant: Callable[[Path, Path], None]
) -> None:
    scenario.download()
    image = scenario.tree.path(scenario.receipt()) / f"{scenario.series.images[0].uid}.dcm"
    image.unlink()
    plant(image, victim)
    with _without_waiting(image):
        assert [damaged.file for damaged in verify_directory(scenario.output).damage] == [
            image.relative_to(scenario.output).as_posix()
        ]
        summary = scenario.download()
    scenario.assert_complete(summary)


@pytest.mark.parametrize("plant", [_fifo, _socket, _device, _link])
@pytest.mark.parametrize("name", ["metadata.csv", "manifest-md5.txt", "LICENSE.txt"])
def test_fault_35_a_special_file_or_link_in_place_of_a_report(
    scenario: Scenario, victim: Path, name: str, plant: Callable[[Path, Path], None]
) -> None:
    scenario.download()
    path = scenario.output / NAME / name
    path.unlink()
    plant(path, victim)
    with _without_waiting(path):
        assert name in read_status(scenario.output).collections[0].outdated_reports
        verify_directory(scenario.output)
        summary = scenario.download()
    scenario.assert_complete(summary)
    assert path.is_file()
    assert not path.is_symlink()
    assert any(f"{name}.moved-aside" in notice for notice in summary.notices)


@pytest.mark.parametrize("name", ["", "locks", "series", "staging", "tmp", "damaged"])
def test_fault_35_a_linked_state_folder_is_refused(
    scenario: Scenario, tmp_path: Path, name: str
) -> None:
    scenario.download()
    folder, elsewhere = scenario.tree.state / name, tmp_path / "elsewhere"
    if folder.exists():
        folder.rename(elsewhere)
    else:
        elsewhere.mkdir()
    before = sorted(elsewhere.rglob("*"))
    folder.symlink_to(elsewhere)
    for command in (scenario.download, lambda: verify_directory(scenario.output)):
        with pytest.raises(PermissionDeniedError, match=f"{folder} is a symbolic link"):
            command()
    assert sorted(elsewhere.rglob("*")) == before


def test_fault_35_a_linked_staging_folder_of_a_series_is_refused(
    scenario: Scenario, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_bytes(PRECIOUS)
    scenario.tree.prepare()
    (scenario.tree.staging / scenario.series.uid).symlink_to(elsewhere)
    summary = scenario.download()
    assert summary.exit_code == 4
    assert [item.name for item in elsewhere.iterdir()] == ["thesis.txt"]


@pytest.fixture(name="foreign")
def _foreign(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Gives a link to another user, which root alone can do for real."""

    def give_away(link: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a link away")
        os.lchown(link, OTHER_USER, -1)

    return give_away


def test_fault_35_another_user_s_link_to_a_folder_is_not_followed(
    scenario: Scenario, tmp_path: Path, foreign: Callable[[Path], None]
) -> None:
    scenario.download()
    folder, elsewhere = scenario.tree.path(scenario.receipt()), tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    assert verify_directory(scenario.output).exit_code == 0, "the user's own link is followed"
    assert scenario.download().exit_code == 0
    assert folder.is_symlink()

    foreign(folder)
    before = {item.name: item.read_bytes() for item in elsewhere.iterdir()}
    damage = verify_directory(scenario.output).damage
    assert {damaged.detail for damaged in damage} == {"behind another user's symbolic link"}
    summary = scenario.download()
    scenario.assert_complete(summary)
    assert not folder.is_symlink()
    assert any(str(folder) in notice for notice in summary.notices), summary.notices
    assert {item.name: item.read_bytes() for item in elsewhere.iterdir()} == before


def test_fault_35_another_user_s_link_as_a_collection_is_refused(
    scenario: Scenario, tmp_path: Path, foreign: Callable[[Path], None]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    scenario.output.mkdir()
    (scenario.output / NAME).symlink_to(elsewhere)
    foreign(scenario.output / NAME)
    with pytest.raises(PermissionDeniedError, match="another user's symbolic link"):
        scenario.download()
    assert list(elsewhere.iterdir()) == []
    os.lchown(elsewhere, OTHER_USER, -1)
    assert not is_foreign_link(scenario.output / NAME), "its owner made it"


def _twice(document: dict[str, Any]) -> None:
    document["images"].append(document["images"][0])


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "control characters": lambda one: one.update(folder=f"{one['folder']}\x1b[2J"),
    "a line break": lambda one: one.update(folder="a\nb"),
    "a reserved folder": lambda one: one.update(folder="supporting"),
    "inside a reserved folder": lambda one: one.update(folder="Supporting/1.2.3"),
    "a long folder": lambda one: one.update(folder="x" * 5000),
    "many folders": lambda one: one.update(folder="/".join(["x"] * 2500)),
    "an image twice": _twice,
    "a huge image": lambda one: one["images"][0].update(size=10**400),
    "100 MB": lambda one: one.update(program="x" * 100_000_000),
    "staged outside": lambda one: one.update(staged=".."),
    "staged on a drive": lambda one: one.update(staged="C:"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_fault_35_a_hostile_receipt_is_damaged_and_repaired(
    scenario: Scenario, damage: str
) -> None:
    scenario.download()
    uid = scenario.series.uid
    path, sound = scenario.tree.receipts.path(uid), scenario.receipt()
    document = json.loads(path.read_bytes())
    DAMAGES[damage](document)
    path.write_text(json.dumps(document), encoding="utf-8")
    kept = scenario.tree.staging / "1.2.3" / "another run"
    kept.mkdir(parents=True)
    assert scenario.tree.receipts.read(uid) is None
    assert verify_directory(scenario.output).exit_code == 1
    scenario.assert_complete(scenario.download())
    assert [image.md5 for image in scenario.receipt().images] == [
        image.md5 for image in sound.images
    ]
    assert verify_directory(scenario.output).exit_code == 0
    assert kept.is_dir()


NOTE_FILES = ("damaged/{uid}.json", "failed/{uid}.json", "changed/{uid}.json")
CONTENTS = {
    "deep": "[" * 100_000,
    "no document": "1",
    "huge": '{"series": 1e999, "pid": 1e999, "host": "", "since": ""}',
    "lists": '[{"reason": [], "detail": [], "missing": 1, "file": {}}]',
    "texts": '{"written": ["x"], "size": "x", "inputs": 1, "metadata.csv": "x", "file": 1}',
}


@pytest.mark.parametrize("content", CONTENTS)
def test_fault_35_a_state_file_with_other_content_ends_no_command(
    scenario: Scenario, content: str
) -> None:
    scenario.download()
    uid = scenario.series.uid
    image = scenario.tree.path(scenario.receipt()) / scenario.receipt().images[0].file
    names = [*STATE_FILES, *NOTE_FILES, "combined.json", "supporting/a.csv.json"]
    for name in names:
        if not name.startswith(("staging/", "program")):
            path = scenario.tree.state / name.format(uid=uid)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(CONTENTS[content])
    with Lock(scenario.tree.state / "locks" / f"{uid}.lock", "the series"):
        (scenario.tree.state / "locks" / f"{uid}.lock").write_text(CONTENTS[content])
        read_status(scenario.output)
    verify_directory(scenario.output)
    image.unlink(missing_ok=True)
    scenario.download()
    scenario.assert_complete(scenario.download())


@pytest.mark.parametrize("number", ["1.5", "x", "9" * 5000])
def test_fault_35_a_number_in_a_receipt_that_is_none_counts_as_unknown(
    scenario: Scenario, number: str
) -> None:
    scenario.download()
    path = scenario.tree.receipts.path(scenario.series.uid)
    document = json.loads(path.read_bytes())
    document["headers"]["InstanceNumber"] = number
    path.write_text(json.dumps(document), encoding="utf-8")
    assert scenario.receipt().attributes() is None
    assert relayout_directory(scenario.output, "retriever", dry_run=True).exit_code == 0
    scenario.assert_complete(scenario.download())


def test_fault_35_names_that_are_no_receipt_s_are_not_listed(scenario: Scenario) -> None:
    scenario.download()
    (scenario.tree.receipts.folder / "\x1b[2J.json").write_bytes(b"{}")
    assert scenario.tree.receipts.uids() == {series.uid for series in scenario.all_series}
