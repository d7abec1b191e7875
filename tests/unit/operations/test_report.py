"""The HTML report of a folder: what it collects, keeps, and never touches."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tcia_covid
from tcia_covid.catalog.collections import Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import InterruptedRunError, RequestError
from tcia_covid.core.models import Check, Receipt, StoredImage
from tcia_covid.formats.geometry import Finding, Kind
from tcia_covid.operations import report as operation
from tcia_covid.operations.report import Report, SeriesReport, collect_report
from tcia_covid.operations.report_images import ImageReader
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.report_page import MARKER, is_own_page
from tcia_covid.store.tree import Tree
from tests.fakes.nifti import volume
from tests.fakes.pixel_images import AXIAL, gradient, picture
from tests.unit.trees import grow, new_tree, series_of
from tests.waiting import wait_for


@pytest.fixture(name="tree")
def _tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


def add(tree: Tree, number: int, contents: list[bytes], /, **facts: object) -> Receipt:
    """Put a series with these files into the tree."""
    series = series_of(number, **facts)
    folder = f"{series.patient}/{series.study}/{series.uid}"
    (tree.root / folder).mkdir(parents=True)
    images = []
    for index, content in enumerate(contents):
        uid = f"{series.uid}.{index}"
        (tree.root / folder / f"{uid}.dcm").write_bytes(content)
        md5 = hashlib.md5(content).hexdigest()
        images.append(StoredImage(uid, len(content), md5, Check.MD5, "idc"))
    receipt = Receipt(series, folder, tuple(images), "2026-01-01T00:00:00Z", "test")
    tree.receipts.write(StoredReceipt(receipt, ""))
    return receipt


def stack(count: int = 5, step: float = 2.5) -> list[bytes]:
    return [
        picture(
            gradient(high=1000 + number),
            InstanceNumber=number,
            ImagePositionPatient=[0, 0, number * step],
            ImageOrientationPatient=AXIAL,
            PixelSpacing=[0.7, 0.7],
        )
        for number in range(1, count + 1)
    ]


def collect(directory: Path, jobs: int = 1, stop: CancelToken | None = None) -> Report:
    with collect_report(directory, Registry(()), jobs, stop=stop) as report:
        return report


def only(report: Report) -> SeriesReport:
    (collection,) = report.collections
    (series,) = collection.series
    return series


def cached(tree: Tree) -> dict[str, int]:
    folder = tree.state / "thumbnails"
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def content_of(tree: Tree) -> dict[str, str]:
    return {
        str(file): hashlib.md5(file.read_bytes()).hexdigest()
        for file in tree.root.rglob("*")
        if file.is_file() and "thumbnails" not in file.parts
    }


def test_a_series_has_its_geometry_and_the_thumbnail_of_its_middle_slice(
    tree: Tree, tmp_path: Path
) -> None:
    receipt = add(tree, 1, stack())
    series = only(collect(tmp_path))
    assert series.geometry
    assert (series.geometry.kind, series.geometry.slice_spacing) == (Kind.VOLUME, 2.5)
    assert series.shown.thumbnail == f"{receipt.images[2].md5}.jpg"
    thumbnail = tree.state / "thumbnails" / series.shown.thumbnail
    assert thumbnail.read_bytes().startswith(b"\xff\xd8")


def test_the_second_report_reads_no_image(tree: Tree, tmp_path: Path) -> None:
    receipt = add(tree, 1, stack())
    first = collect(tmp_path)
    before = cached(tree)
    for file in tree.path(receipt).iterdir():
        os.truncate(file, 0)
    assert only(collect(tmp_path)) == only(first)
    assert cached(tree) == before


def test_what_a_killed_run_has_made_is_used_again(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    collect(tmp_path)
    before = cached(tree)
    add(tree, 2, stack(step=3))
    collect(tmp_path)
    assert before.items() < cached(tree).items()
    (thumbnail,) = (tree.state / "thumbnails").glob(f"{next(iter(before))[:32]}*")
    thumbnail.unlink()
    assert all(s.shown.thumbnail and s.geometry for s in collect(tmp_path).collections[0].series)


def test_a_canceled_report_ends_and_keeps_what_is_done(tree: Tree, tmp_path: Path) -> None:
    for number in range(1, 30):
        add(tree, number, stack(step=number))
    stop = CancelToken()
    with (
        pytest.raises(InterruptedRunError),
        collect_report(tmp_path, Registry(()), 1, lambda event: stop.set(), stop),
    ):
        pass
    assert 1 <= sum(name.endswith(".jpg") for name in cached(tree)) < 29


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_killed_report_is_resumed_and_leaves_no_worker(tree: Tree, tmp_path: Path) -> None:
    for number in range(1, 80):
        add(tree, number, stack(step=number))
    command = [sys.executable, "-m", "tcia_covid", "report", tmp_path, "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        wait_for(lambda: list(tree.state.glob("thumbnails/*.jpg")), process)
        process.kill()
    wait_for(lambda: not _group_is_alive(process.pid))
    before = cached(tree)
    assert not (tmp_path / "report.html").exists()
    (collection,) = collect(tmp_path).collections
    assert all(series.shown.thumbnail for series in collection.series)
    assert {n: t for n, t in before.items() if not n.endswith(".part")}.items() <= cached(
        tree
    ).items()


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_damaged_cache_is_made_again(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    first = only(collect(tmp_path))
    (record,) = (tree.state / "thumbnails").glob("*.json")
    for content in (
        "[]",
        '{"geometry": {"kind": "x"}, "image": ""}',
        json.dumps({"geometry": None, "image": "0" * 32}),
        '{"geometry": null, "image": "../x"}',
    ):
        record.write_text(content)
        assert only(collect(tmp_path)) == first


def test_an_image_that_cannot_be_decoded_has_a_reason_and_its_geometry(
    tree: Tree, tmp_path: Path
) -> None:
    add(tree, 1, [content[:-100] for content in stack()])
    for _ in range(2):
        series = only(collect(tmp_path))
        assert "its pixels cannot be decoded" in series.shown.problem
        assert series.shown.thumbnail == ""
        assert series.geometry
        assert series.geometry.kind is Kind.VOLUME


def test_a_changed_image_is_not_shown(tree: Tree, tmp_path: Path) -> None:
    receipt = add(tree, 1, stack())
    middle = tree.path(receipt) / receipt.images[2].file
    middle.write_bytes(middle.read_bytes()[:-2] + b"xx")
    series = only(collect(tmp_path))
    assert "differs from its receipt" in series.shown.problem
    assert not [name for name in cached(tree) if name.endswith(".jpg")]


def test_missing_files_and_other_content_have_reasons(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, [b"not DICOM"])
    removed = add(tree, 2, stack())
    (tree.path(removed) / removed.images[0].file).unlink()
    foreign, missing = collect(tmp_path).collections[0].series
    assert "not a DICOM file" in foreign.shown.problem
    assert (missing.state, missing.geometry) == ("missing-files", None)
    assert "files are missing" in missing.shown.problem


def test_a_decoder_that_does_not_end_is_killed_and_the_others_continue(
    tree: Tree, tmp_path: Path
) -> None:
    receipt = add(tree, 1, stack())
    reader = ImageReader(1, timeout=0.0)
    try:
        cache = tree.state / "thumbnails"
        cache.mkdir()
        shown = reader.read(receipt, tree.path(receipt), cache)
        assert shown.problem == "the decoder crashed or did not end"
        reader.timeout = 60.0
        assert reader.read(receipt, tree.path(receipt), cache).thumbnail
    finally:
        reader.close()


def test_geometry_problems_are_listed(tree: Tree, tmp_path: Path) -> None:
    contents = stack(7)
    add(tree, 1, [*contents[:3], *contents[4:]])
    add(tree, 2, stack())
    (collection,) = collect(tmp_path).collections
    (problem,) = collection.geometry_problems
    assert problem.geometry
    assert [p.finding for p in problem.geometry.problems] == [
        Finding.SPACING,
        Finding.NUMBER_GAPS,
    ]


def test_the_viewer_has_series_that_idc_has(tree: Tree, tmp_path: Path) -> None:
    grow(tree, series_of(1))
    grow(tree, series_of(2, crdc_uuid="0" * 36))
    nbia, idc = collect(tmp_path).collections[0].series
    assert nbia.viewer == ""
    assert idc.viewer == (
        "https://viewer.imaging.datacommons.cancer.gov/v3/viewer/"
        f"?StudyInstanceUIDs={idc.series.study}&SeriesInstanceUIDs={idc.series.uid}"
    )


def test_a_report_changes_no_file_and_verify_finds_nothing_unexpected(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tree, 1, stack())
    before = content_of(tree)
    assert tcia_covid.report(tmp_path, jobs=1).page == tmp_path / "report.html"
    assert content_of(tree) == before
    monkeypatch.setattr(operation, "SINGLE_FILE_SERIES", 0)
    assert tcia_covid.report(tree.root, jobs=1).page == tree.root / "report" / "index.html"
    assert tcia_covid.report(tree.root, jobs=1).page.is_file()
    assert verify_directory(tmp_path, strict=True).unexpected == []


def test_a_read_only_tree_is_reported_elsewhere(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    (tree.state / "thumbnails").write_text("in the way")
    result = tcia_covid.report(tmp_path, to=tmp_path / "out" / "page.html", jobs=1)
    assert result.report.collections[0].series[0].shown.thumbnail
    assert b"data:image/jpeg" in result.page.read_bytes()


@pytest.mark.parametrize("to", [None, "page.html", "folder"])
def test_a_page_is_replaced_and_a_changed_one_is_not(
    to: str | None, tree: Tree, tmp_path: Path
) -> None:
    add(tree, 1, stack())
    target = None if to is None else tmp_path / to
    page = tcia_covid.report(tmp_path, to=target, jobs=1).page
    assert tcia_covid.report(tmp_path, to=target, jobs=1).page == page
    assert is_own_page(page)
    changed = page.read_bytes() + b"my note"
    page.write_bytes(changed)
    with pytest.raises(RequestError, match=re.escape(str(page))) as caught:
        tcia_covid.report(tmp_path, to=target, jobs=1)
    assert "--to" in caught.value.hint
    assert page.read_bytes() == changed


@pytest.mark.parametrize("to", ["page.html", "folder"])
def test_what_the_user_has_there_stays(to: str, tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    target = tmp_path / to
    if to == "folder":
        target.mkdir()
    mine = target / "notes.txt" if to == "folder" else target
    mine.write_text("mine")
    with pytest.raises(RequestError):
        tcia_covid.report(tmp_path, to=target, jobs=1)
    mine.unlink()
    other = tmp_path / "other.html"
    other.write_text("mine")
    mine.symlink_to(other)
    with pytest.raises(RequestError):
        tcia_covid.report(tmp_path, to=target, jobs=1)
    assert other.read_text() == "mine"


def test_a_folder_has_thumbnails_and_keeps_what_the_user_adds(tree: Tree, tmp_path: Path) -> None:
    receipt = add(tree, 1, stack())
    folder = tmp_path / "report"
    page = tcia_covid.report(tmp_path, to=folder, jobs=1).page
    (folder / "notes.txt").write_text("mine")
    tcia_covid.report(tmp_path, to=folder, jobs=1)
    assert (folder / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [MARKER, "index.html", "notes.txt", "thumbnails"]
    )
    assert [path.name for path in (folder / "thumbnails").iterdir()] == [
        f"{receipt.images[2].md5}.jpg"
    ]
    assert b"data:image" not in page.read_bytes().replace(b"data:image/jpeg;base64,${", b"")


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_fault_35_a_report_is_not_written_through_a_link(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    folder, elsewhere = tmp_path / "report", tmp_path / "elsewhere"
    tcia_covid.report(tmp_path, to=folder, jobs=1)
    (folder / "thumbnails").rename(tmp_path / "old")
    elsewhere.mkdir()
    (folder / "thumbnails").symlink_to(elsewhere)
    with pytest.raises(RequestError, match="thumbnails exists"):
        tcia_covid.report(tmp_path, to=folder, jobs=1)
    assert not any(elsewhere.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
@pytest.mark.parametrize("to", ["page.html", "folder"])
def test_fault_35_a_link_in_place_of_a_thumbnail_is_not_published(
    to: str, tree: Tree, tmp_path: Path
) -> None:
    add(tree, 1, stack())
    target = tmp_path / to
    tcia_covid.report(tmp_path, to=target, jobs=1)
    page = target / "index.html" if to == "folder" else target
    private = tmp_path / "private.txt"
    private.write_text("a secret")
    (thumbnail,) = (tree.state / "thumbnails").glob("*.jpg")
    content = thumbnail.read_bytes()
    thumbnail.unlink()
    thumbnail.symlink_to(private)
    if to == "folder":
        (target / "thumbnails" / thumbnail.name).unlink()
    tcia_covid.report(tmp_path, to=target, jobs=1)
    assert base64.b64encode(private.read_bytes()) not in page.read_bytes()
    if to == "folder":
        assert (target / "thumbnails" / thumbnail.name).read_bytes() == content
    assert thumbnail.read_bytes() == content, "it is made again, in place of the link"
    assert private.read_text() == "a secret"


def test_a_folder_of_a_killed_run_is_completed(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / MARKER).touch()
    (folder / "thumbnails").mkdir()
    assert tcia_covid.report(tmp_path, to=folder, jobs=1).page.is_file()


def test_without_the_extra_it_says_what_to_install(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "EXTRA", ("json", "no_such_package"))
    with pytest.raises(RequestError, match="not installed: no_such_package") as caught:
        tcia_covid.report(tmp_path)
    assert "pip install 'tcia-covid[report]'" in caught.value.hint


def test_a_folder_without_downloads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has no collection"):
        tcia_covid.report(tmp_path)


def test_nothing_in_the_cache_counts_as_an_image(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    collect(tmp_path)
    assert {Path(name).suffix for name in cached(tree)} == {".jpg", ".json"}
    record = next((tree.state / "thumbnails").glob("*.json"))
    assert json.loads(record.read_text()).keys() == {"geometry", "image"}


def test_the_same_images_in_two_series_are_decoded_once(tree: Tree, tmp_path: Path) -> None:
    add(tree, 1, stack())
    add(tree, 2, stack())
    first, second = collect(tmp_path).collections[0].series
    assert first.shown == second.shown
    assert sorted(Path(name).suffix for name in cached(tree)) == [".jpg", ".json"]


def test_a_nifti_volume_has_a_thumbnail_and_no_geometry(tree: Tree, tmp_path: Path) -> None:
    receipt = add(tree, 1, [volume()])
    (image,) = receipt.images
    nifti = replace(image, uid="volume-1", suffix=".nii.gz")
    (tree.path(receipt) / image.file).rename(tree.path(receipt) / nifti.file)
    tree.receipts.write(StoredReceipt(replace(receipt, images=(nifti,)), ""))
    for _ in range(2):
        series = only(collect(tmp_path))
        assert (series.geometry, series.shown.problem) == (None, "")
        assert series.shown.thumbnail == f"{image.md5}.jpg"
