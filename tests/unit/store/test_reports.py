"""The files next to a collection's images: their content, and when they are written again."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.catalog.collections import Collection, Publication, Registry
from tcia_covid.catalog.licenses import License
from tcia_covid.core.errors import DestinationError, NoSpaceError
from tcia_covid.core.models import Check
from tcia_covid.store.disk import Disk, StrPath
from tcia_covid.store.locks import Lock
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.reports import REPORT_FILES, outdated_reports, write_reports
from tcia_covid.store.tree import Tree
from tests.unit.trees import NAME, files, grow, new_tree, series_of
from tests.waiting import soon

DATA = Publication("Desai (2020). Data.", title="Data", year=2020, doi="10.7937/x")
COLLECTION = Collection(
    NAME,
    "DICOM",
    NAME,
    doi="10.7937/x",
    license=License("CC BY 4.0", commercial_use=True, url="https://creativecommons.org/by"),
    citation=DATA,
)
REGISTRY = Registry((COLLECTION,), tcia=Publication("Clark K (2013).", title="TCIA", year=2013))
NBIA_COLUMNS = (
    "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID,Study UID,"
    "Study Description,Study Date,Series Description,Manufacturer,Modality,SOP Class Name,"
    "SOP Class UID,Number of Images,File Size,File Location,Download Timestamp"
)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


def report(tree: Tree, collection: Collection | None = COLLECTION) -> None:
    write_reports(tree, collection, REGISTRY)


def rows(tree: Tree) -> list[dict[str, str]]:
    text = (tree.root / "metadata.csv").read_bytes().decode("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def text(tree: Tree, name: str) -> str:
    return (tree.root / name).read_text("utf-8")


def manifest(tree: Tree) -> dict[str, str]:
    """MD5 by file."""
    lines = text(tree, "manifest-md5.txt").splitlines()
    return {file: md5 for md5, file in (line.split("  ", 1) for line in lines)}


# metadata.csv


def test_metadata_begins_with_the_columns_of_nbia_s_retriever(tree: Tree) -> None:
    grow(tree, series_of(1))
    report(tree)
    content = (tree.root / "metadata.csv").read_bytes()
    assert content.startswith(NBIA_COLUMNS.encode())
    assert content.count(b"\r\n") == content.count(b"\n") == 2


def test_metadata_has_a_row_a_series(tree: Tree) -> None:
    series = series_of(
        1,
        study_description="CT CHEST",
        study_date="2020-03-01",
        description="Lung 1.0",
        manufacturer="SIEMENS",
        manufacturer_model="Force",
        body_part="CHEST",
        number=3,
        date="2020-03-02",
        license="CC BY 4.0",
        license_url="https://creativecommons.org/by",
        data_url="https://doi.org/10.7937/x",
        third_party=True,
    )
    receipt = grow(tree, series, images=4, check=Check.SERIES_MD5)
    grow(tree, series_of(2))
    report(tree)
    first, second = rows(tree)
    assert first == {
        "PATIENT_ID": "PATIENT-1",
        "Series UID": series.uid,
        "Collection": NAME,
        "3rd Party Analysis": "YES",
        "Data Description URI": "https://doi.org/10.7937/x",
        "Subject ID": "PATIENT-1",
        "Study UID": series.study,
        "Study Description": "CT CHEST",
        "Study Date": "2020-03-01",
        "Series Description": "Lung 1.0",
        "Manufacturer": "SIEMENS",
        "Modality": "CT",
        "SOP Class Name": "CT Image Storage",
        "SOP Class UID": "1.2.840.10008.5.1.4.1.1.2",
        "Number of Images": "4",
        "File Size": "0.00 MB",
        "File Location": f"./{receipt.folder}",
        "Download Timestamp": receipt.finished,
        "Series Number": "3",
        "Series Date": "2020-03-02",
        "Body Part Examined": "CHEST",
        "Manufacturer Model Name": "Force",
        "License Name": "CC BY 4.0",
        "License URL": "https://creativecommons.org/by",
        "Bytes": str(receipt.size),
        "Checked": "series-md5",
        "Source": "nbia",
    }
    assert (second["3rd Party Analysis"], second["Series Number"]) == ("NO", "")
    assert (tree.root / first["File Location"]).is_dir()


@pytest.mark.parametrize(
    "patient",
    [
        "a b",
        "a/b",
        "Müller",
        "山田",
        'say "x"',
        "a,b",
        " ends ",
        "-",
        "\\",
    ],
)
def test_fault_28_a_patient_s_own_name_is_kept_in_metadata(tree: Tree, patient: str) -> None:
    receipt = grow(tree, series_of(1, patient="X"))
    series = replace(receipt.series, patient=patient, description=patient)
    tree.receipts.write(StoredReceipt(replace(receipt, series=series), ""))
    report(tree)
    (row,) = rows(tree)
    assert (row["Subject ID"], row["Series Description"]) == (patient, patient)


# manifest-md5.txt


@pytest.mark.skipif(shutil.which("md5sum") is None, reason="no md5sum here")
def test_md5sum_proves_the_collection_from_the_manifest(tree: Tree) -> None:
    receipt = grow(tree, series_of(1, patient="Ünal, A (1)"), images=5)
    grow(tree, series_of(2))
    report(tree)
    check = [shutil.which("md5sum") or "", "-c", "--strict", "manifest-md5.txt"]
    proved = subprocess.run(check, cwd=tree.root, capture_output=True, text=True, check=False)
    assert (proved.returncode, proved.stdout.count(": OK\n")) == (0, 8)
    files(tree, receipt)[0].write_bytes(b"x")
    assert subprocess.run(check, cwd=tree.root, capture_output=True, check=False).returncode == 1


def test_the_manifest_names_every_file_of_the_tree(tree: Tree) -> None:
    receipts = [grow(tree, series_of(number), number) for number in (1, 2, 3)]
    report(tree)
    expected = {f"{r.folder}/{i.file}": i.md5 for r in receipts for i in r.images}
    assert manifest(tree) == expected
    assert set(expected) == {p.relative_to(tree.root).as_posix() for p in tree.root.rglob("*.dcm")}


def test_a_series_whose_folder_is_gone_is_in_no_report_until_it_is_back(tree: Tree) -> None:
    missing, present = grow(tree, series_of(1)), grow(tree, series_of(2))
    away = tree.root.parent / "away"
    tree.path(missing).rename(away)
    report(tree)
    assert {file.rpartition("/")[0] for file in manifest(tree)} == {present.folder}
    assert [row["Series UID"] for row in rows(tree)] == [present.series.uid]
    assert outdated_reports(tree)
    away.rename(tree.path(missing))
    report(tree)
    assert len(manifest(tree)) == 6
    assert not outdated_reports(tree)


def test_a_lost_image_of_a_series_stays_in_the_manifest(tree: Tree) -> None:
    receipt = grow(tree, series_of(1))
    files(tree, receipt)[0].unlink()
    report(tree)
    assert len(manifest(tree)) == 3


# LICENSE.txt and CITATION.bib


def test_license_and_citation_are_the_registry_s(tree: Tree) -> None:
    grow(tree, series_of(1, license="something else"))
    report(tree)
    assert "License: CC BY 4.0" in text(tree, "LICENSE.txt")
    assert "something else" not in text(tree, "LICENSE.txt")
    assert text(tree, "CITATION.bib").count("@misc{") == 2
    assert "10.7937/x" in text(tree, "CITATION.bib")


def test_the_terms_of_analysis_results_are_listed_next_to_the_collection_s(tree: Tree) -> None:
    results = {"license": "CC BY 3.0", "data_url": "https://doi.org/10.7937/r", "third_party": True}
    grow(tree, series_of(1, **results))
    grow(tree, series_of(2, license="CC BY 4.0"))
    report(tree)
    terms = text(tree, "LICENSE.txt")
    assert "License: CC BY 4.0" in terms
    assert "analysis results" in terms
    assert "  CC BY 3.0 https://doi.org/10.7937/r\n" in terms


@pytest.mark.parametrize(
    ("name", "short", "commercial"),
    [
        ("CC BY 4.0", "CC BY 4.0", True),
        ("Creative Commons Attribution 4.0 International License", "CC BY 4.0", True),
        ("Creative Commons Attribution 3.0 Unported License", "CC BY 3.0", True),
        ("CC BY-NC 4.0", "CC BY-NC 4.0", False),
        (
            "Creative Commons Attribution-NonCommercial 4.0 International License",
            "CC BY-NC 4.0",
            False,
        ),
    ],
)
def test_a_collection_outside_the_registry_has_the_license_of_its_series(
    tmp_path: Path, name: str, short: str, commercial: bool
) -> None:
    tree = new_tree(tmp_path, "OTHER")
    doi = "https://doi.org/10.7937/y"
    grow(
        tree, series_of(1, collection="Other", license=name, license_url="https://l", data_url=doi)
    )
    report(tree, None)
    terms = text(tree, "LICENSE.txt")
    assert terms.startswith("Other\n")
    assert f"License: {short}\nhttps://l\n" in terms
    assert ("for any purpose" in terms) is commercial
    assert "https://doi.org/10.7937/y" in terms
    assert "10.7937/y" in text(tree, "CITATION.bib")
    assert "TCIA" in text(tree, "CITATION.bib")


@pytest.mark.parametrize(
    "name", ["TCIA Restricted", "CC BY-SA 4.0", "CC BY 4.0 or other", "MIT License"]
)
def test_a_license_is_described_only_as_far_as_the_archive_does(tree: Tree, name: str) -> None:
    grow(tree, series_of(1, license=name, license_url="https://l"))
    report(tree, None)
    terms = text(tree, "LICENSE.txt")
    assert f"License: {name}\nhttps://l\nThe license's own text has all conditions.\n" in terms
    assert "commercial" not in terms


def test_different_licenses_of_a_collection_are_listed(tree: Tree) -> None:
    licenses = ["CC BY 4.0", "CC BY-NC 4.0"]
    for number, name in enumerate(licenses):
        grow(tree, series_of(number, license=name, data_url="https://example.org/page"))
    report(tree, None)
    terms = text(tree, "LICENSE.txt")
    assert "License: not on record" in terms
    for name in licenses:
        assert f"  {name} https://example.org/page\n" in terms


def test_a_collection_without_a_known_license_has_reports_too(tree: Tree) -> None:
    grow(tree, series_of(1))
    report(tree, None)
    assert "  no license on record\n" in text(tree, "LICENSE.txt")


# When they are written


def test_reports_are_stale_until_written_and_after_each_new_receipt(tree: Tree) -> None:
    assert not outdated_reports(tree), "there is nothing to report"
    for number in (1, 2):
        grow(tree, series_of(number))
        assert outdated_reports(tree)
        report(tree)
        assert not outdated_reports(tree)


@pytest.mark.parametrize("name", REPORT_FILES)
def test_a_report_that_is_gone_is_stale(tree: Tree, name: str) -> None:
    grow(tree, series_of(1))
    report(tree)
    (tree.root / name).unlink()
    assert outdated_reports(tree)
    report(tree)
    assert (tree.root / name).is_file()
    assert not outdated_reports(tree)


class GrowingDisk(Disk):
    """Calls `grow` just before LICENSE.txt, the third report, is put in place."""

    grow: Callable[[], None] = staticmethod(lambda: None)

    def replace(self, source: StrPath, target: StrPath) -> None:
        if Path(target).name == "LICENSE.txt":
            self.grow()
        super().replace(source, target)


def test_a_receipt_that_is_written_meanwhile_is_reported(tmp_path: Path) -> None:
    disk = GrowingDisk(durable=False)
    tree = new_tree(tmp_path, disk=disk)
    grow(tree, series_of(1))
    late = iter([2])

    def commit_one_series() -> None:
        for number in late:
            grow(tree, series_of(number))

    disk.grow = commit_one_series
    report(tree)
    assert len(rows(tree)) == 2
    assert len(manifest(tree)) == 6
    assert not outdated_reports(tree)


def test_a_tree_that_grows_without_end_does_not_block_the_writer(tmp_path: Path) -> None:
    disk = GrowingDisk(durable=False)
    tree = new_tree(tmp_path, disk=disk)
    numbers = iter(range(1, 100))
    disk.grow = lambda: grow(tree, series_of(next(numbers)), 1)
    report(tree)
    assert outdated_reports(tree), "for the run that continues"


def test_no_temporary_file_remains(tree: Tree) -> None:
    grow(tree, series_of(1))
    report(tree)
    assert not list(tree.root.rglob("*.part"))
    assert sorted(p.name for p in tree.root.iterdir() if p.is_file()) == sorted(REPORT_FILES)


class _FailingDisk(Disk):
    """Runs full at the n-th file that is put in place."""

    def __init__(self, after: int) -> None:
        super().__init__(durable=False)
        self.left = after

    def replace(self, source: Path, target: Path) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "No space left on device")
        super().replace(source, target)


@pytest.mark.parametrize("after", range(5))
def test_a_full_disk_leaves_the_old_reports_intact_and_out_of_date(tree: Tree, after: int) -> None:
    grow(tree, series_of(1))
    report(tree)
    grow(tree, series_of(2))
    with pytest.raises(NoSpaceError) as refusal:
        report(Tree(tree.root, disk=_FailingDisk(after)))
    assert refusal.value.exit_code == 4
    assert (len(rows(tree)), len(manifest(tree))) in {(1, 3), (2, 3), (2, 6)}
    assert outdated_reports(tree)


def test_a_series_whose_folder_cannot_be_read_is_an_error(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network folder whose server lost a patient."""
    receipt = grow(tree, series_of(1))
    look = os.stat

    def failing(path: Any, **more: Any) -> os.stat_result:
        if str(path).endswith(receipt.folder.rpartition("/")[2]):
            raise OSError(5, "Input/output error")
        return look(path, **more)

    monkeypatch.setattr(os, "stat", failing)
    with pytest.raises(DestinationError, match=r"cannot read .*: Input/output error"):
        report(tree)
    assert not (tree.root / "manifest-md5.txt").exists()


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="nothing is forbidden to this user"
)
def test_a_read_only_folder_is_an_error(tree: Tree) -> None:
    grow(tree, series_of(1))
    tree.root.chmod(0o555)
    try:
        with pytest.raises(DestinationError):
            report(tree)
    finally:
        tree.root.chmod(0o755)


# Files of the user's


def _notices_of(tree: Tree) -> list[str]:
    notices: list[str] = []
    write_reports(tree, COLLECTION, REGISTRY, notices.append)
    return notices


@pytest.mark.parametrize("name", REPORT_FILES)
@pytest.mark.parametrize("how", ["file", "changed", "folder", "link"])
def test_a_report_replaces_no_file_that_this_program_did_not_write(
    tree: Tree, name: str, how: str
) -> None:
    grow(tree, series_of(1))
    path, aside = tree.root / name, tree.root / f"{name}.moved-aside"
    elsewhere = tree.root / "mine"
    elsewhere.write_bytes(b"mine")
    if how == "changed":
        report(tree)
        grow(tree, series_of(2))
    if how == "folder":
        path.mkdir()
        (path / "notes").write_bytes(b"mine")
    elif how == "link":
        path.symlink_to("mine")
    else:
        path.write_bytes(b"mine")
    (notice,) = _notices_of(tree)
    assert str(aside) in notice
    assert (aside / "notes" if how == "folder" else aside).read_bytes() == b"mine"
    assert aside.is_symlink() == (how == "link")
    assert elsewhere.read_bytes() == b"mine"
    assert path.is_file()
    assert not outdated_reports(tree)
    grow(tree, series_of(3))
    assert _notices_of(tree) == [], "the next reports replace this program's own"


def test_reports_replace_a_link_to_their_own_bytes_and_not_its_target(tree: Tree) -> None:
    grow(tree, series_of(1))
    report(tree)
    path, store = tree.root / "metadata.csv", tree.root / "annex"
    path.rename(store)
    path.symlink_to("annex")
    before = store.read_bytes()
    grow(tree, series_of(2))
    assert _notices_of(tree) == []
    assert not path.is_symlink()
    assert store.read_bytes() == before
    assert len(rows(tree)) == 2


def test_the_record_of_what_was_written_stays_small(tree: Tree) -> None:
    for number in range(1, 6):
        grow(tree, series_of(number), 1)
        report(tree)
        for record in (tree.state / "reports").iterdir():
            os.utime(record, (1, 1))
    grow(tree, series_of(6), 1)
    report(tree)
    assert len(list((tree.state / "reports").iterdir())) <= 2 * len(REPORT_FILES)


# Several processes


def _held(tree: Tree) -> Lock:
    return Lock(tree.state / "locks" / "reports.lock", "the reports")


def _in_a_moment(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Timer(0.3, act)
    thread.start()
    return thread


def test_a_run_that_finds_the_reports_being_written_uses_those(tree: Tree) -> None:
    grow(tree, series_of(1))
    report(tree)
    stamp = (tree.state / "reports.json").read_bytes()
    (tree.state / "reports.json").write_bytes(b"null")
    before = (tree.root / "metadata.csv").stat().st_mtime_ns
    with _held(tree):
        thread = _in_a_moment(lambda: (tree.state / "reports.json").write_bytes(stamp))
        report(tree)
        thread.join()
    assert (tree.root / "metadata.csv").stat().st_mtime_ns == before


def test_a_run_whose_series_the_other_had_not_seen_writes_them_again(tree: Tree) -> None:
    grow(tree, series_of(1))
    report(tree)
    lock = _held(tree)
    with lock:
        grow(tree, series_of(2))
        thread = _in_a_moment(lambda: lock.__exit__(None, None, None))
        report(tree)
        thread.join()
    assert (len(rows(tree)), outdated_reports(tree)) == (2, [])


def test_waiting_for_a_run_that_hangs_with_the_lock_ends(tree: Tree) -> None:
    grow(tree, series_of(1))
    with soon(), _held(tree):
        write_reports(tree, COLLECTION, REGISTRY, lock_timeout=0.2)
    assert not outdated_reports(tree)


def _grow_and_report(root: Path, first: int) -> None:
    tree = Tree(root, disk=Disk(durable=False))
    for number in range(first, first + 5):
        grow(tree, series_of(number), 1)
        report(tree)


def test_four_processes_end_with_every_series_in_the_reports(tree: Tree) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_grow_and_report, args=(tree.root, 1 + 10 * n)) for n in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
        worker.close()
    assert (len(rows(tree)), len(manifest(tree))) == (20, 20)
    assert not outdated_reports(tree)


def test_no_report_has_formulas_or_control_characters_of_an_archive(tree: Tree) -> None:
    grow(
        tree,
        series_of(
            1,
            description="=HYPERLINK(1)",
            manufacturer="Si\x1b[2Jemens\r\n",
            license="CC\x1b]0;x\x07 BY\n4.0",
            collection="Other\x1b[1m",
        ),
    )
    report(tree, None)
    (row,) = rows(tree)
    assert row["Series Description"] == "'=HYPERLINK(1)"
    assert row["Manufacturer"] == "Si [2Jemens  "
    for name in REPORT_FILES:
        text = (tree.root / name).read_text(encoding="utf-8").replace("\n", "").replace("\r", "")
        assert text.isprintable(), name

    tree.keep_formulas = True
    report(tree, None)
    assert rows(tree)[0]["Series Description"] == "=HYPERLINK(1)"
