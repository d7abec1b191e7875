"""Plans: correct amounts, and no file created or changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.api.options import request_from
from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.catalog import series_catalog
from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Totals
from tcia_covid.operations.download import download_request
from tcia_covid.operations.plan import compare_with_catalog, plan_request
from tcia_covid.selection.request import Request
from tcia_covid.store.free_space import reserve_of
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Cut, Faults
from tests.fakes.nbia_servers import NAME, small_archive


@pytest.fixture(name="archive")
def _archive(faults: Faults) -> Iterator[ArchiveServer]:
    with small_archive(faults, series=2, images=4) as server:
        yield server


def request(archive: ArchiveServer, output: Path, **choices: object) -> Request:
    return request_from(
        NAME,
        output,
        source="nbia",
        nbia_url=archive.base_url,
        retry_wait=0.01,
        retries=0,
        no_fsync=True,
        **choices,  # type: ignore[arg-type]
    )


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_before_the_first_run_everything_is_to_fetch(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    found = plan_request(request(archive, tmp_path / "data"))
    size = sum(image.size for series in archive.corpus for image in series.images)
    assert found.selected == found.to_fetch == Totals(6, 24, size)
    assert found.complete == found.partial == Totals()
    (group,) = found.groups
    assert (group.patients, group.studies) == (3, 3)
    assert found.fits
    assert found.exit_code == 0
    assert not list(tmp_path.iterdir())


def test_complete_series_are_not_to_fetch(archive: ArchiveServer, tmp_path: Path) -> None:
    download_request(request(archive, tmp_path, first_patients=1))
    before = snapshot(tmp_path)
    found = plan_request(request(archive, tmp_path))
    assert (found.complete.series, found.to_fetch.series) == (2, 4)
    assert found.complete + found.to_fetch == found.selected
    assert snapshot(tmp_path) == before


def test_images_of_an_interrupted_run_are_subtracted(
    archive: ArchiveServer, faults: Faults, tmp_path: Path
) -> None:
    victim = next(iter(archive.corpus))
    faults.add(Cut(("getImage",), at=4500, series=victim.uid, times=None))
    faults.add(Cut(("getSingleImage",), at=1, times=None))
    download_request(request(archive, tmp_path, series=victim.uid))
    found = plan_request(request(archive, tmp_path))
    assert found.partial.series == 1
    assert 0 < found.partial.images < 4
    assert found.to_fetch.series == 6
    assert found.to_fetch.size == found.selected.size - found.partial.size


def test_a_notice_names_series_that_changed_in_the_archive(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    download_request(request(archive, tmp_path))
    victim = next(iter(archive.corpus))
    archive.corpus.put(replace(victim, images=victim.images[:-1]))
    found = plan_request(request(archive, tmp_path))
    assert found.to_fetch.series == 0
    assert "1 series of SMALL changed in the archive" in found.notices[-1]
    assert plan_request(request(archive, tmp_path, update=True)).to_fetch.series == 1


def test_a_series_that_was_submitted_again_counts_as_changed(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    download_request(request(archive, tmp_path))
    victim = next(iter(archive.corpus))
    archive.corpus.put(replace(victim, submitted="2031-01-01"))
    (failure,) = download_request(request(archive, tmp_path)).failures
    assert failure.reason == "changed"
    (group,) = plan_request(request(archive, tmp_path)).groups
    assert group.changed == [failure.series]
    assert plan_request(request(archive, tmp_path, update=True)).to_fetch.series == 1


def test_of_a_damaged_series_only_missing_images_are_to_fetch(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    download_request(request(archive, tmp_path))
    file = next((tmp_path / NAME).glob("*/*/*/*.dcm"))
    size = file.stat().st_size
    file.unlink()
    assert plan_request(request(archive, tmp_path)).to_fetch == Totals(1, 1, size)


def test_a_plan_that_fits_leaves_a_reserve_on_the_disk(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    found = plan_request(request(archive, tmp_path))
    found.free = found.needed + reserve_of(found.needed)
    assert found.fits
    found.free -= 1
    assert not found.fits
    found.free = None
    assert found.fits is None


def test_the_time_is_estimated_from_the_maximum_rate(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    found = plan_request(request(archive, tmp_path, max_rate=10_000))
    assert (found.rate, found.rate_is_assumed) == (10_000, False)
    assert found.seconds == round(found.needed / 10_000)
    assert plan_request(request(archive, tmp_path, max_rate="1GB")).rate_is_assumed


def test_lists_that_agree_with_the_catalog(
    monkeypatch: pytest.MonkeyPatch, archive: ArchiveServer
) -> None:
    name = "MIDRC-RICORD-1B"
    monkeypatch.setattr(NbiaArchive, "list_collection", lambda _, name: series_catalog.load(name))
    (found,) = compare_with_catalog(request_from(name, nbia_url=archive.base_url))
    assert not found.differs
    assert found.same == found.listed == found.known == 120


def test_lists_that_differ_from_the_catalog(
    monkeypatch: pytest.MonkeyPatch, archive: ArchiveServer
) -> None:
    name = "MIDRC-RICORD-1B"
    first, second, *rest = series_catalog.load(name)
    other = [replace(first, uid="1.9"), replace(second, image_count=1), *rest]
    monkeypatch.setattr(NbiaArchive, "list_collection", lambda *_: other)
    (found,) = compare_with_catalog(request_from(name, nbia_url=archive.base_url))
    assert found.differs
    assert found.only_nbia == ["1.9"]
    assert found.only_catalog == [first.uid]
    (different,) = found.different
    assert different.series == second.uid
    assert different.images == (1, second.image_count)
    assert found.same == 118


def test_filters_apply_to_both_lists(
    monkeypatch: pytest.MonkeyPatch, archive: ArchiveServer
) -> None:
    monkeypatch.setattr(NbiaArchive, "list_collection", lambda _, name: series_catalog.load(name))
    (found,) = compare_with_catalog(
        request_from("midrc-ricord-1b", nbia_url=archive.base_url, max_series=3)
    )
    assert (found.listed, found.known) == (3, 3)


def test_a_comparison_filters_by_columns_that_nbia_does_not_list(
    monkeypatch: pytest.MonkeyPatch, archive: ArchiveServer
) -> None:
    name = "MIDRC-RICORD-1B"
    known = series_catalog.load(name)
    listed = [replace(item, transfer_syntax=None, bucket=None) for item in known]
    monkeypatch.setattr(NbiaArchive, "list_collection", lambda *_: listed)
    compressed = "TransferSyntaxUID=1.2.840.10008.1.2.4.70"
    (found,) = compare_with_catalog(request_from(name, nbia_url=archive.base_url, where=compressed))
    assert (found.listed, found.known, found.same) == (30, 30, 30)


def test_only_collections_of_the_catalog_can_be_compared() -> None:
    with pytest.raises(UsageError, match="cannot be compared"):
        compare_with_catalog(request_from("CT Images in COVID-19"))
