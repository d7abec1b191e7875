"""Adopting whole folders: every tool's layout, what is proved how, what is left and why."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_covid.catalog.collections import Collection
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    InterruptedRunError,
    NoSpaceError,
    NotDicomError,
    RequestError,
    UsageError,
)
from tcia_covid.core.events import Event, SeriesFinished
from tcia_covid.core.models import Check
from tcia_covid.demo.corpus import Corpus, DemoSeries, demo_corpus
from tcia_covid.demo.walkthrough import REGISTRY as DEMO_REGISTRY
from tcia_covid.operations.adopt.adopt import adopt_folder
from tcia_covid.operations.adopt.result import AdoptResult, Mode, Reason, document
from tcia_covid.operations.adopt.series import FilePlacer
from tcia_covid.operations.download import download_request
from tcia_covid.operations.verify.verify import verify_directory
from tcia_covid.selection.request import Options, Request
from tcia_covid.store.locks import Lock
from tcia_covid.store.tree import Tree
from tests.fakes.layouts import LAYOUTS, flat, retriever_classic, tcia_utils, tcia_utils_zipped
from tests.fakes.nbia import ArchiveServer
from tests.fakes.synthetic import synthetic_corpus, with_md5s, with_unpadded_md5s
from tests.unit.archive_helpers import QUICK, files_of

NAME = "SYNTHETIC"
COLLECTION = Collection(name=NAME, format="DICOM", title=NAME)


@pytest.fixture
def corpus() -> Corpus:
    """Two patients, four series, sixteen images."""
    return synthetic_corpus(NAME)


@pytest.fixture
def server(corpus: Corpus) -> Iterator[ArchiveServer]:
    with ArchiveServer(corpus, compression=1) as running:
        yield running


@pytest.fixture
def have(tmp_path: Path) -> Path:
    """What somebody has already."""
    folder = tmp_path / "have"
    folder.mkdir()
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The output folder."""
    return tmp_path / "data"


def options_of(server: ArchiveServer) -> Options:
    return Options(jobs=2, source="nbia", nbia_url=server.base_url, http=QUICK, durable=False)


def take(
    server: ArchiveServer, have: Path, data: Path, mode: Mode = "link", **more: object
) -> AdoptResult:
    return adopt_folder(have, data, mode=mode, options=options_of(server), **more)  # type: ignore[arg-type]


def expected(series: DemoSeries, root: str = NAME) -> dict[str, str]:
    """The files of a series in the layout, with their MD5s."""
    folder = f"{root}/{series.patient.id}/{series.study.uid}/{series.uid}"
    return {f"{folder}/{image.uid}.dcm": (image.md5 or "").zfill(32) for image in series.images}


def images_in(data: Path) -> dict[str, str]:
    return {name: md5 for name, md5 in files_of(data).items() if name.endswith(".dcm")}


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def one_series(corpus: Corpus) -> DemoSeries:
    return min(corpus, key=lambda series: series.uid)


def any_file(have: Path) -> Path:
    return min(path for path in have.rglob("*.dcm"))


# Every tool's layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_adopted_whole_and_left_as_it_is(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path, layout: str
) -> None:
    LAYOUTS[layout](have, corpus)
    before = files_below(have)
    result = take(server, have, data)
    assert (result.exit_code, result.series.adopted, result.images.adopted) == (0, 4, 16)
    assert images_in(data) == {k: v for one in corpus for k, v in expected(one).items()}
    assert files_below(have) == before
    assert not result.damaged + result.incomplete + result.foreign + result.duplicates


@pytest.mark.parametrize("layout", LAYOUTS)
def test_real_scanner_files_are_adopted_from_every_layout(
    have: Path, data: Path, layout: str
) -> None:
    corpus = demo_corpus()
    LAYOUTS[layout](have, [series for series in corpus if series.collection == "DEMO-CT"])
    with ArchiveServer(corpus, compression=1) as server:
        found = take(server, have, data)
    assert (found.exit_code, found.series.adopted, found.images.adopted) == (0, 4, 53)


def test_a_download_after_it_has_nothing_left_to_do(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    take(server, have, data)
    summary = download_request(Request((NAME,), str(data), options=options_of(server)))
    assert (summary.already_complete, summary.exit_code) == (4, 0)
    assert server.count("getImage") == 0
    assert verify_directory(data, deep=True).exit_code == 0


def test_the_collections_files_are_written(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    take(server, have, data)
    manifest = (data / NAME / "manifest-md5.txt").read_text()
    assert len(manifest.splitlines()) == 16
    assert "adopted" in (data / NAME / "metadata.csv").read_text()


# How it is proved


def test_a_whole_series_is_proved_by_one_request(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, [one_series(corpus)])
    take(server, have, data)
    asked = [record.endpoint for record in server.requests]
    assert asked == ["getSeriesMetadata", "getMD5Hierarchy"]
    receipt = Tree(data / NAME).committed(one_series(corpus).uid)
    assert receipt is not None
    assert receipt.check is Check.SERIES_MD5
    assert {image.source for image in receipt.images} == {"adopted"}


def test_stored_digests_without_leading_zeros_are_right(have: Path, data: Path) -> None:
    series = with_unpadded_md5s(one_series(synthetic_corpus(NAME)))
    corpus = synthetic_corpus(NAME)
    corpus.put(series)
    tcia_utils(have, [series])
    with ArchiveServer(corpus, compression=1) as server:
        assert take(server, have, data).exit_code == 0
    assert images_in(data) == expected(series)


def test_a_series_without_any_hash_is_not_taken(have: Path, data: Path) -> None:
    corpus = synthetic_corpus(NAME)
    series = one_series(corpus)
    corpus.put(with_md5s(series, {image.uid: " " for image in series.images}))
    tcia_utils(have, [series])
    with ArchiveServer(corpus, compression=1) as server:
        result = take(server, have, data)
    assert (result.exit_code, result.images.unverified, images_in(data)) == (1, 4, {})
    assert [left.reason for left in result.incomplete] == [Reason.NO_HASH]


def test_images_of_an_incomplete_series_wait_and_only_the_rest_is_fetched(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(have, [series])
    any_file(have).unlink()
    result = take(server, have, data)
    assert (result.exit_code, result.series.staged, result.images.staged) == (1, 1, 3)
    assert [left.reason for left in result.incomplete] == [Reason.INCOMPLETE]
    assert images_in(data) == {}
    before = len(server.requests)
    request = Request((series.uid,), str(data), options=options_of(server))
    assert download_request(request).exit_code == 0
    fetched = [one.endpoint for one in server.requests[before:] if "mage" in one.endpoint]
    assert fetched == ["getSingleImage"]
    assert images_in(data) == expected(series)


def test_a_second_folder_completes_what_a_first_one_began(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path, tmp_path: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(have, [series])
    missing = any_file(have)
    missing.rename(tmp_path / "elsewhere.dcm")
    take(server, have, data)
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "elsewhere.dcm").rename(other / "x")
    result = take(server, other, data)
    assert (result.exit_code, result.series.adopted) == (0, 1)
    assert images_in(data) == expected(series)


def test_images_that_a_download_left_in_staging_count(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(have, [series])
    tree = Tree(data / NAME)
    tree.prepare()
    listed = next(one for one in _listed(server) if one.uid == series.uid)
    with tree.stage(listed, lambda count: None) as staging:
        staging.receive([series.images[0].read()], source="nbia")  # type: ignore[union-attr]
    _file_of(have, series.images[0].read()).unlink()
    assert take(server, have, data).series.adopted == 1
    assert images_in(data) == expected(series)


def _listed(server: ArchiveServer) -> list[object]:
    from tests.unit.archive_helpers import nbia_of  # noqa: PLC0415

    with nbia_of(server) as nbia:
        return list(nbia.list_collection(NAME))


def _file_of(have: Path, content: bytes) -> Path:
    return next(path for path in have.rglob("*.dcm") if path.read_bytes() == content)


# Damage


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _cut_head(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _page(path: Path) -> None:
    path.write_bytes(b"<html>503</html>" * 40)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_cut, Reason.TRUNCATED),
        (_flip, Reason.CHANGED),
        (_cut_head, Reason.UNREADABLE),
        (_empty, Reason.UNREADABLE),
        (_page, Reason.UNREADABLE),
    ],
)
def test_a_damaged_file_is_named_and_the_others_are_staged(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path, harm: object, reason: Reason
) -> None:
    tcia_utils(have, [one_series(corpus)])
    victim = any_file(have)
    harm(victim)  # type: ignore[operator]
    result = take(server, have, data)
    assert [(one.file, one.reason) for one in result.damaged] == [
        (str(victim.relative_to(have)), reason)
    ]
    assert (result.exit_code, result.images.staged, images_in(data)) == (1, 3, {})


def test_an_image_that_the_archive_does_not_list_is_strange(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(have, [series])
    corpus.put(_without_last(series))
    result = take(server, have, data)
    assert [one.reason for one in result.damaged] == [Reason.NOT_IN_SERIES]
    assert (result.series.adopted, result.exit_code) == (1, 1)
    assert images_in(data) == expected(_without_last(series))


def _without_last(series: DemoSeries) -> DemoSeries:
    from dataclasses import replace  # noqa: PLC0415

    return replace(series, images=series.images[:-1])


# Doubles


def test_the_same_image_twice_is_taken_once(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, [one_series(corpus)])
    shutil.copyfile(any_file(have), have / "again")
    result = take(server, have, data)
    assert (result.exit_code, result.images.duplicate, result.images.adopted) == (0, 1, 4)
    assert [one.same_bytes for one in result.duplicates] == [True]


def test_of_two_versions_the_archives_is_taken(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(have, [series])
    wrong = any_file(have)
    shutil.copyfile(wrong, have / "zz-right")
    _flip(wrong)
    result = take(server, have, data)
    assert (result.exit_code, result.series.adopted, result.damaged) == (0, 1, [])
    assert [(one.file, one.duplicate_of, one.same_bytes) for one in result.duplicates] == [
        (str(wrong.relative_to(have)), "zz-right", False)
    ]
    assert images_in(data) == expected(series)


# What is not the archive's


def test_series_of_no_archive_are_foreign(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    flat(have, synthetic_corpus("OTHER", seed=7, patients=1, series_per_patient=1))
    result = take(server, have, data)
    assert (result.series.adopted, result.series.foreign, result.images.foreign) == (4, 1, 4)
    assert result.exit_code == 1


def test_with_a_collection_the_others_are_not_asked_for(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    others = synthetic_corpus("OTHER", seed=7, patients=1, series_per_patient=1)
    for series in others:
        corpus.put(series)
    tcia_utils(have, corpus)
    result = take(server, have, data, collection=COLLECTION)
    assert (result.exit_code, result.series.adopted, result.series.foreign) == (0, 4, 1)
    assert not (data / "OTHER").exists()


def test_series_go_to_the_folders_of_their_collections(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    for series in synthetic_corpus("OTHER", seed=7, patients=1, series_per_patient=1):
        corpus.put(series)
    tcia_utils(have, corpus)
    assert take(server, have, data).collections == {NAME: 4, "OTHER": 1}
    assert (data / "OTHER" / "metadata.csv").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_other_files_zips_and_links_are_counted_and_left(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, [one_series(corpus)])
    tcia_utils_zipped(have, list(corpus)[1:])
    (have / "link.dcm").symlink_to(any_file(have))
    (have / "loop").symlink_to(have, target_is_directory=True)
    os.mkfifo(have / "pipe.dcm")
    result = take(server, have, data)
    assert (result.files.symlinks, result.files.not_dicom, len(result.files.zip_files)) == (2, 2, 3)
    assert (result.exit_code, result.series.adopted) == (0, 1)


def test_nothing_of_the_collection_ends_with_1(
    server: ArchiveServer, have: Path, data: Path
) -> None:
    flat(have, synthetic_corpus("OTHER", seed=7, patients=1, series_per_patient=1))
    result = take(server, have, data, collection=COLLECTION)
    assert (result.exit_code, result.series.adopted, result.series.foreign) == (1, 0, 1)
    assert not data.exists()


# How files are brought


def test_links_are_made_where_they_can_be(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    result = take(server, have, data)
    assert result.placed == {"link": 16}
    inodes = {path.stat().st_ino for path in have.rglob("*.dcm")}
    assert {path.stat().st_ino for path in data.rglob("*.dcm")} == inodes


def test_copies_share_nothing(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    result = take(server, have, data, "copy")
    assert sum(result.placed.values()) == 16
    assert "link" not in result.placed
    inodes = {path.stat().st_ino for path in have.rglob("*.dcm")}
    assert not inodes & {path.stat().st_ino for path in data.rglob("*.dcm")}


def test_moving_removes_what_was_taken_and_folders_that_are_empty_then(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    retriever_classic(have, corpus)
    result = take(server, have, data, "move")
    assert (result.exit_code, result.images.adopted) == (0, 16)
    left = {path.name for path in have.rglob("*") if path.is_file()}
    assert left == {"metadata.csv", "LICENSE"}
    assert not any(path.name.startswith(NAME + "-") for path in have.rglob("*"))
    assert len(images_in(data)) == 16


def test_moving_leaves_the_cache_of_another_tool_alone(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    """As DVC has it: a hidden folder with a second name of every file."""
    retriever_classic(have, corpus)
    cache = have / ".dvc" / "cache"
    cache.mkdir(parents=True)
    for number, path in enumerate(sorted(have.rglob("*.dcm"))):
        os.link(path, cache / f"{number:032x}")
    before = files_below(cache)
    result = take(server, have, data, "move")
    assert (result.images.adopted, result.images.duplicate, result.not_removed) == (16, 16, 0)
    assert files_below(cache) == before
    assert not list(have.rglob("*.dcm"))


def test_moving_leaves_what_was_not_taken(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    series = one_series(corpus)
    _flip(any_file(have / "tciaDownload" / series.uid))
    other = max(one.uid for one in corpus)
    shutil.copyfile(any_file(have / "tciaDownload" / other), have / "a-second-one")
    result = take(server, have, data, "move")
    assert (result.exit_code, result.series.adopted, result.images.staged) == (1, 3, 3)
    left = [path for path in have.rglob("*") if path.is_file() and path.name != "LICENSE"]
    assert sorted(path.parent.name for path in left) == [*[series.uid] * 4, other]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
@pytest.mark.parametrize("mode", ["link", "move", "copy"])
def test_another_file_system_gets_copies(
    server: ArchiveServer, corpus: Corpus, data: Path, mode: Mode, tmp_path: Path
) -> None:
    have = Path("/dev/shm") / f"adopt-{os.getpid()}-{mode}"
    if have.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the same file system")
    try:
        tcia_utils(have, corpus)
        result = take(server, have, data, mode)
        assert (result.exit_code, result.placed) == (0, {"copy": 16})
        assert bool(list(have.rglob("*.dcm"))) == (mode != "move")
    finally:
        shutil.rmtree(have)


# Where the folder is


def test_a_folder_inside_the_output_can_be_adopted(
    server: ArchiveServer, corpus: Corpus, data: Path
) -> None:
    retriever_classic(data / "from-the-retriever", corpus)
    assert take(server, data / "from-the-retriever", data).series.adopted == 4


def test_the_output_itself_can_be_adopted_again_and_again(
    server: ArchiveServer, corpus: Corpus, data: Path
) -> None:
    tcia_utils(data, list(corpus)[:2])
    assert take(server, data, data).series.adopted == 2
    tcia_utils(data, corpus)
    result = take(server, data, data)
    assert (result.series.adopted, result.series.already_complete, result.series.found) == (2, 2, 4)
    assert verify_directory(data / NAME).exit_code == 0


def test_one_of_the_programs_own_folders_is_refused(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    take(server, have, data)
    for folder in (data / NAME, data / NAME / one_series(corpus).patient.id):
        with pytest.raises(RequestError, match="own folders"):
            take(server, folder, data)


def test_files_where_the_collection_would_go_are_refused(
    server: ArchiveServer, corpus: Corpus, data: Path
) -> None:
    series = one_series(corpus)
    folder = data / NAME / series.patient.id / series.study.uid / series.uid
    tcia_utils(folder, [series])
    before = files_below(data)
    for place in (data, data / NAME):
        with pytest.raises(RequestError, match="is the destination of the series") as refusal:
            take(server, place, data)
        assert "--output" in refusal.value.hint
    assert files_below(data) == before


def test_a_tree_of_this_program_elsewhere_is_a_folder_like_any_other(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path, tmp_path: Path
) -> None:
    tcia_utils(have, list(corpus)[:3])
    tcia_utils(have, [])
    any_file(have).unlink()  # one series waits in staging there
    old = tmp_path / "old"
    take(server, have, old)
    before = files_below(old)
    result = take(server, old, data)
    assert (result.series.adopted, result.images.staged) == (2, 3)
    assert files_below(old) == before
    for below in (old, old / NAME, next((old / NAME).glob("*/*/*"))):
        with pytest.raises(UsageError, match="receipts"):
            take(server, below, tmp_path / "third", "move")


@pytest.mark.parametrize("name", ["nothing", "empty", "zips"])
def test_a_folder_without_dicom_files_is_refused(
    server: ArchiveServer, corpus: Corpus, data: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    tcia_utils_zipped(tmp_path / "zips", corpus)
    with pytest.raises(RequestError) as refusal:
        take(server, tmp_path / name, data)
    assert refusal.value.hint


def test_a_collection_that_is_not_dicom_is_refused(
    server: ArchiveServer, have: Path, data: Path
) -> None:
    with pytest.raises(NotDicomError):
        take(server, have, data, collection=load_registry().find("CT Images in COVID-19"))


# The run


def test_files_of_a_series_that_stands_are_compared_with_it(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    series = one_series(corpus)
    corpus.put(_without_last(series))
    tcia_utils(have, [_without_last(series)])
    take(server, have, data)
    before = len(server.requests)
    tcia_utils(have, [series])
    extra = _file_of(have, series.images[-1].read())
    flipped, double = [path for path in sorted(have.rglob("*.dcm")) if path != extra][:2]
    content = flipped.read_bytes()
    flipped.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    shutil.copyfile(double, have / "again")
    result = take(server, have, data)
    assert {(one.file, one.reason) for one in result.damaged} == {
        (str(flipped.relative_to(have)), Reason.CHANGED),
        (str(extra.relative_to(have)), Reason.NOT_IN_SERIES),
    }
    assert (result.images.already_complete, result.images.duplicate, result.exit_code) == (2, 1, 1)
    assert {one.endpoint for one in server.requests[before:]} == {"getSeriesMetadata"}


def test_moving_again_removes_the_originals_of_what_stands(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    take(server, have, data, "copy")
    harmed = any_file(data)
    harmed.write_bytes(harmed.read_bytes()[:-1] + b"\xff")
    result = take(server, have, data, "move")
    assert (result.exit_code, result.images.already_complete, result.not_removed) == (0, 16, 1)
    assert len(list(have.rglob("*.dcm"))) == 1


def test_series_that_stand_already_are_not_asked_about(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    take(server, have, data)
    before = len(server.requests)
    result = take(server, have, data)
    assert (result.exit_code, result.series.already_complete) == (0, 4)
    assert (result.images.already_complete, result.images.adopted) == (16, 0)
    assert {one.endpoint for one in server.requests[before:]} == {"getSeriesMetadata"}


def test_progress_and_events_are_told(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    events: list[Event] = []
    read: list[tuple[int, int]] = []
    take(server, have, data, emit=events.append, on_progress=lambda *one: read.append(one))
    assert sum(images for _, images in read) == 16
    assert sum(size for size, _ in read) == sum(one.size for one in corpus)
    assert sum(isinstance(event, SeriesFinished) for event in events) == 4


def test_a_stopped_run_ends_at_once_and_the_next_goes_on(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    stop = CancelToken()
    with pytest.raises(InterruptedRunError):
        take(server, have, data, stop=stop, emit=lambda event: stop.set())
    assert take(server, have, data).exit_code == 0


def test_the_descriptive_layout_and_a_registry_can_be_chosen(have: Path, data: Path) -> None:
    corpus = demo_corpus()
    tcia_utils(have, [series for series in corpus if series.collection == "DEMO-CT"])
    registry = (str(DEMO_REGISTRY),)
    with ArchiveServer(corpus, compression=1) as server:
        chosen = Options(
            source="nbia",
            nbia_url=server.base_url,
            http=QUICK,
            durable=False,
            layout="{modality}/{series}",
            registry=registry,
        )
        found = load_registry(registry).find("demo-tomography")
        result = adopt_folder(have, data, collection=found, options=chosen)
    assert result.exit_code == 0
    assert {path.parent.parent.name for path in data.rglob("*.dcm")} == {"CT"}


def test_the_document_has_every_key_and_is_plain(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    import json  # noqa: PLC0415

    tcia_utils(have, corpus)
    _flip(any_file(have))
    told = json.loads(json.dumps(document(take(server, have, data))))
    assert told["command"] == "adopt"
    assert told["exit_code"] == 1
    assert told["series"]["adopted"] == 3
    assert told["damaged"][0]["reason"] == "changed"
    assert told["incomplete"][0]["staged"] == 3


def test_a_series_that_another_run_works_on_is_left(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    tree = Tree(data / NAME)
    tree.prepare()
    held = one_series(corpus).uid
    with Lock(tree.state / "locks" / f"{held}.lock", "the series"):
        result = take(server, have, data)
    assert [(one.series, one.reason) for one in result.incomplete] == [(held, Reason.LOCKED)]
    assert (result.exit_code, result.series.adopted, result.series.skipped) == (1, 3, 1)


def test_copies_that_would_not_fit_are_not_begun(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcia_utils(have, corpus)
    full = shutil.disk_usage(have)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(NoSpaceError, match="copies of the files need"):
        take(server, have, data, "copy")
    assert images_in(data) == {}
    assert take(server, have, data, "link").exit_code == 0
    assert take(server, have, data, "copy").exit_code == 0  # nothing is left to copy


def test_originals_that_cannot_be_removed_are_counted(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcia_utils(have, [one_series(corpus)])
    monkeypatch.setattr(FilePlacer, "remove", lambda self, found, committed: False)
    result = take(server, have, data, "move")
    assert (result.exit_code, result.series.adopted, result.not_removed) == (0, 1, 4)


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="nothing is forbidden to this user"
)
def test_what_may_not_be_read_is_named(
    server: ArchiveServer, corpus: Corpus, have: Path, data: Path
) -> None:
    tcia_utils(have, corpus)
    any_file(have).chmod(0)
    (have / "closed").mkdir(mode=0)
    result = take(server, have, data)
    assert {one.reason for one in result.damaged} == {Reason.UNREADABLE}
    assert len(result.damaged) == 2
