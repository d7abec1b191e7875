"""Files next to volumes that this program did not write stay where they are, unchanged."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from tcia_covid.catalog.collections import Registry
from tcia_covid.cli.main import run as command
from tcia_covid.core.events import Event, Notice
from tcia_covid.nifti.adopt import VolumeAdoption, adopt_volumes, install_volumes
from tcia_covid.nifti.scan import find_volumes
from tcia_covid.nifti.tree import Inventory, VolumeTree
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store.disk import Disk
from tests.fakes import nifti as fake
from tests.fakes.crashing_disk import CountingDisk, Crash

ONE, TWO, EARLY, LATE = fake.whole()
SUBJECT = "volume-covid19-A-0700"
MINE = {
    "volume-covid19-A-0700_day000.json": b'{"EchoTime": 1}',
    "mask.nii.gz": b"no volume of the collection",
    "volume-covid19-A-0700_lungs.nii.gz": fake.volume(50),
    ".ipynb_checkpoints/notes-checkpoint.ipynb": b"{}",
    ".git/HEAD": b"ref: refs/heads/main",
    ".dvc/config": b"[core]",
    ".hidden": b"h",
    "derived/a.txt": b"a",
    "volume-covid19-A-0700_day500.nii.gz/a.txt": b"a folder of that name",
}


def tree_of(tmp_path: Path, disk: Disk | None = None) -> VolumeTree:
    return VolumeTree(tmp_path / "data", fake.collection(), disk or Disk(durable=False))


def home(tmp_path: Path) -> Path:
    return tmp_path / "data" / fake.NAME / "0700"


def adopt(tmp_path: Path, files: dict[str, bytes], **how: object) -> VolumeAdoption:
    source = tmp_path / "have"
    shutil.rmtree(source, ignore_errors=True)
    fake.write(source, files)
    return adopt_volumes(
        source,
        tmp_path / "data",
        fake.collection(),
        Registry(),
        durable=False,
        jobs=2,
        mode="copy",
        **how,  # type: ignore[arg-type]
    )


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


BOTH = {name: fake.whole()[name] for name in (EARLY, LATE)}


@pytest.mark.parametrize(
    "how", ["mended", "joined", "without a receipt", "copied without its state", "only theirs"]
)
def test_foreign_files_stay_where_they_are(tmp_path: Path, how: str) -> None:
    if how != "only theirs":
        adopt(tmp_path, {EARLY: BOTH[EARLY]} if how == "joined" else fake.whole())
    fake.write(home(tmp_path), MINE)
    inodes = {name: (home(tmp_path) / name).stat().st_ino for name in MINE}
    tree = tree_of(tmp_path)
    if how == "mended":
        (home(tmp_path) / LATE).unlink()
    elif how == "without a receipt":
        tree.receipts.path(SUBJECT).unlink()
    elif how == "copied without its state":
        shutil.rmtree(tree.state)
    result = adopt(tmp_path, fake.whole())
    assert result.exit_code == 0
    assert [text for text in result.notices if str(home(tmp_path)) in text] == []
    assert files_in(home(tmp_path)) == {**MINE, **BOTH}
    assert {name: (home(tmp_path) / name).stat().st_ino for name in MINE} == inodes
    assert not tree.quarantine.exists()
    assert Inventory.of(tree).is_complete


def test_foreign_files_next_to_volumes_make_no_patient_incomplete(tmp_path: Path) -> None:
    adopt(tmp_path, fake.whole())
    fake.write(home(tmp_path), MINE)
    verify_directory(tmp_path / "data")
    assert SUBJECT in tree_of(tmp_path).complete_receipts()
    assert Inventory.of(tree_of(tmp_path)).is_complete


@pytest.mark.parametrize("bad", [b"mine", b""])
def test_a_file_with_a_volumes_name_is_moved_aside_visibly(
    tmp_path: Path, bad: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no receipt, so the owner of the file is unknown."""
    fake.write(home(tmp_path), {LATE: bad})
    source = fake.write(tmp_path / "have", fake.whole())
    words = [
        "adopt",
        str(source),
        "--collection",
        fake.NAME,
        "-o",
        str(tmp_path / "data"),
        "--no-fsync",
    ]
    assert command([*words, "-q", "--json"]) == 0
    captured = capsys.readouterr()
    aside = home(tmp_path) / f"{LATE}.moved-aside"
    assert aside.read_bytes() == bad
    assert str(aside) in captured.err
    (notice,) = json.loads(captured.out)["notices"]
    assert str(aside) in notice
    assert (home(tmp_path) / LATE).read_bytes() == BOTH[LATE]


def test_changed_files_are_moved_aside_under_free_names(tmp_path: Path) -> None:
    events: list[Event] = []
    for text in (b"first", b"second"):
        adopt(tmp_path, fake.whole())
        (home(tmp_path) / LATE).write_bytes(text)
        verify_directory(tmp_path / "data")
    (aside,) = adopt(tmp_path, fake.whole(), emit=events.append).notices
    assert (home(tmp_path) / f"{LATE}.moved-aside").read_bytes() == b"first"
    assert (home(tmp_path) / f"{LATE}.moved-aside-2").read_bytes() == b"second"
    assert Notice(aside, always=True) in events
    assert not tree_of(tmp_path).quarantine.exists()


@pytest.mark.parametrize("what", ["file", "dangling link"])
def test_a_file_in_the_place_of_a_patients_folder_is_moved_aside(tmp_path: Path, what: str) -> None:
    place = home(tmp_path)
    place.parent.mkdir(parents=True)
    if what == "file":
        place.write_bytes(b"mine")
    else:
        place.symlink_to("elsewhere")
    (notice,) = adopt(tmp_path, fake.whole()).notices
    aside = place.with_name("0700.moved-aside")
    assert str(aside) in notice
    assert aside.read_bytes() == b"mine" if what == "file" else aside.is_symlink()
    assert files_in(place) == BOTH


def annexed(file: Path, content: bytes) -> Path:
    """Put a link to a read-only file in the place of a file, as git-annex does."""
    store = file.parent / ".git" / "annex" / f"MD5E-s{len(content)}--{file.name}"
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_bytes(content)
    store.chmod(0o444)
    file.unlink()
    file.symlink_to(store.relative_to(file.parent))
    return store


def test_a_link_to_the_right_bytes_is_the_volume(tmp_path: Path) -> None:
    adopt(tmp_path, fake.whole())
    store = annexed(home(tmp_path) / EARLY, BOTH[EARLY])
    (home(tmp_path) / LATE).unlink()
    result = adopt(tmp_path, fake.whole())
    assert (result.exit_code, result.notices) == (0, [])
    assert (home(tmp_path) / EARLY).is_symlink()
    assert store.read_bytes() == BOTH[EARLY]
    assert (home(tmp_path) / LATE).read_bytes() == BOTH[LATE]
    assert Inventory.of(tree_of(tmp_path)).is_complete


@pytest.mark.parametrize("how", ["other bytes", "dangling"])
def test_a_repair_replaces_a_link_and_not_its_target(tmp_path: Path, how: str) -> None:
    adopt(tmp_path, fake.whole())
    store = annexed(home(tmp_path) / LATE, b"other bytes")
    if how == "dangling":
        store.unlink()
    verify_directory(tmp_path / "data")
    assert adopt(tmp_path, fake.whole()).exit_code == 0
    assert not (home(tmp_path) / LATE).is_symlink()
    assert (home(tmp_path) / LATE).read_bytes() == BOTH[LATE]
    assert how == "dangling" or store.read_bytes() == b"other bytes"


def test_a_volume_found_damaged_stays_on_record(tmp_path: Path) -> None:
    """A further volume of the patient must not remove one that was not read from the receipt."""
    adopt(tmp_path, {EARLY: BOTH[EARLY]})
    (home(tmp_path) / EARLY).write_bytes(b"x" * len(BOTH[EARLY]))
    result = adopt(tmp_path, {LATE: BOTH[LATE]})
    (failure,) = result.failures
    assert failure.missing == (EARLY,)
    stored = tree_of(tmp_path).receipts.read(SUBJECT)
    assert stored is not None
    assert [image.file for image in stored.receipt.images] == [EARLY]
    assert SUBJECT not in tree_of(tmp_path).complete_receipts()
    assert adopt(tmp_path, BOTH).failures == []
    assert files_in(home(tmp_path)).items() > BOTH.items()


@pytest.mark.parametrize("harm", ["deleted", "changed", "no receipt"])
def test_a_crash_at_any_side_effect_leaves_foreign_files_in_place(
    tmp_path: Path, harm: str
) -> None:
    source = fake.write(tmp_path / "source", BOTH)

    def run(folder: Path, disk: Disk) -> None:
        tree = tree_of(folder, disk)
        tree.prepare()
        install_volumes(find_volumes(source, tree.pattern), tree, mode="copy", jobs=1)

    def prepared(number: int) -> Path:
        folder = tmp_path / str(number)
        run(folder, Disk(durable=False))
        fake.write(home(folder), MINE)
        if harm == "deleted":
            (home(folder) / LATE).unlink()
        elif harm == "changed":
            (home(folder) / LATE).write_bytes(b"by hand")
            verify_directory(folder / "data")
        else:
            tree_of(folder).receipts.path(SUBJECT).unlink()
        return folder

    counting = CountingDisk()
    run(prepared(-1), counting)
    theirs = dict(MINE)
    for number in range(counting.count):
        folder = prepared(number)
        with contextlib.suppress(Crash):
            run(folder, CountingDisk(number, halfway=bool(number % 2)))
        assert files_in(home(folder)).items() >= theirs.items()
        run(folder, Disk(durable=False))
        aside = {f"{LATE}.moved-aside": b"by hand"} if harm == "changed" else {}
        assert files_in(home(folder)) == {**theirs, **BOTH, **aside}
        assert not tree_of(folder).series_in_staging()
        shutil.rmtree(folder)


def test_moving_takes_nothing_from_a_hidden_folder(tmp_path: Path) -> None:
    source = fake.write(tmp_path / "have", {ONE: fake.whole()[ONE]})
    fake.write(source, {f".dvc/cache/{ONE}": fake.whole()[ONE], f".dvc/{LATE}": BOTH[LATE]})
    result = adopt_volumes(
        source, tmp_path / "data", fake.collection(), Registry(), mode="move", durable=False
    )
    assert sorted(files_in(source)) == [f".dvc/cache/{ONE}", f".dvc/{LATE}"]
    assert (result.volumes.adopted, result.not_removed) == (2, 1)
