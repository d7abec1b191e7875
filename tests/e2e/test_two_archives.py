"""The two archives check and replace each other: complete downloads from both, on loopback."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.catalog import series_catalog
from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Check, Series
from tcia_covid.core.summary import Summary
from tcia_covid.http.settings import HttpSettings
from tcia_covid.operations.download import download_request
from tcia_covid.operations.plan import compare_with_catalog
from tcia_covid.output.json_documents import summary_document
from tcia_covid.selection.request import Options, Request
from tcia_covid.store.tree import Tree
from tests.e2e.archive import real_names
from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import DropRows, EmptyAnswer, Faults, OtherRow, SlowStart, Status
from tests.fakes.s3 import S3Server, folder_of, object_key, running_s3, series_of
from tests.fakes.s3_faults import Delay, Say, SlowDown
from tests.fakes.s3_proxy import S3Proxy
from tests.fakes.zip_faults import LostImage
from tests.unit.archive_helpers import expected_files, files_of
from tests.waiting import LONG, soon

__all__ = ["running_s3"]
QUICK = HttpSettings(
    retries=2, retry_wait=0.01, connect_timeout=LONG, stall_timeout=LONG, first_byte_timeout=LONG
)
FIVE = tuple(entry.collection for entry in series_catalog.info().entries)


class Both:
    """Both archives with the same small series, and a catalog of them."""

    def __init__(self, corpus: Corpus, nbia: ArchiveServer, s3: S3Server, folder: Path) -> None:
        self.corpus = corpus
        self.nbia = nbia
        self.s3 = s3
        self.output = folder / "data"
        self.nbia_url = nbia.base_url
        self.idc_url = s3.url
        assert isinstance(nbia.interceptor, Faults)
        self.faults = nbia.interceptor
        self.lines: list[Series] = []
        """The catalog."""

    def run(self, *targets: str, **options: Any) -> Summary:
        """Download, by default with `--source auto`."""
        settings = {"nbia_url": self.nbia_url, "idc_url": self.idc_url, "http": QUICK}
        request = Request(
            targets or ("COVID-19-AR",),
            str(self.output),
            options=Options(**{**settings, "durable": False, **options}),
        )
        return download_request(request)

    def assert_complete(self, summary: Summary, *names: str) -> None:
        assert summary.failures == []
        assert summary.exit_code == 0
        for name in names or ("COVID-19-AR",):
            expected: dict[str, str] = {}
            for item in self.corpus:
                expected |= expected_files(item) if item.collection == name else {}
            files = files_of(self.output / name)
            assert {k: v for k, v in files.items() if k.endswith(".dcm")} == expected

    def first(self, name: str = "COVID-19-AR") -> str:
        return min(item.uid for item in self.corpus if item.collection == name)


def nowhere() -> str:
    """The URL of a port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module", name="held")
def _held(s3_server: S3Server) -> Corpus:
    """Three series of each of the five collections, put into the buckets as IDC has them."""
    every = real_names()
    corpus = Corpus(every.collections)
    for name in FIVE:
        for item in sorted((s for s in every if s.collection == name), key=lambda s: s.uid)[:3]:
            corpus.put(item)
            s3_server.hold(item, bucket_of(item.uid))
    return corpus


def bucket_of(uid: str) -> str:
    return series_catalog.find([uid])[uid].bucket or ""


@pytest.fixture(name="both")
def _both(
    held: Corpus, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Both]:
    lines = [_line(item.uid, held) for item in held]

    def load(name: str) -> list[Series]:
        return [line for line in lines if line.collection == name]

    def find(uids: Iterable[str]) -> dict[str, Series]:
        wanted = set(uids)
        return {line.uid: line for line in lines if line.uid in wanted}

    def lookup(
        identifier: str, columns: Iterable[str] = series_catalog.IDENTIFIERS
    ) -> series_catalog.Match | None:
        known = find([identifier]) if "SeriesInstanceUID" in columns else {}
        return series_catalog.Match("SeriesInstanceUID", [*known.values()]) if known else None

    monkeypatch.setattr(series_catalog, "load", load)
    monkeypatch.setattr(series_catalog, "lookup", lookup)
    monkeypatch.setattr(series_catalog, "find", find)
    with ArchiveServer(held, interceptor=Faults(), compression=1) as nbia:
        both = Both(held, nbia, s3_server, tmp_path)
        both.lines = lines
        yield both


def _line(uid: str, held: Corpus) -> Series:
    one = held.series(uid)
    assert one is not None
    return replace(
        series_catalog.find([uid])[uid],
        image_count=len(one.images),
        size=sum(image.size for image in one.images),
        crdc_uuid=folder_of(uid),
    )


def test_with_nbia_refused_every_collection_comes_from_idc(both: Both) -> None:
    both.nbia_url = f"{nowhere()}/nbia-api/services/v4"
    summary = both.run(*FIVE)
    both.assert_complete(summary, *FIVE)
    assert summary.sources == {"nbia": 0, "idc": 15}
    assert any("catalog" in notice for notice in summary.notices)


def test_with_idc_refused_every_collection_comes_from_nbia(both: Both) -> None:
    both.idc_url = nowhere()
    summary = both.run(*FIVE)
    both.assert_complete(summary, *FIVE)
    assert summary.sources == {"nbia": 15, "idc": 0}


def test_with_both_refused_the_run_reports_it(both: Both) -> None:
    both.idc_url = nowhere()
    both.nbia_url = f"{nowhere()}/nbia-api/services/v4"
    assert both.run().exit_code == 3
    assert both.run(both.first(), "1.2.3").exit_code == 3, "one that is not in the catalog, either"


def test_auto_uses_the_images_of_idc_and_the_list_of_nbia(both: Both) -> None:
    summary = both.run()
    both.assert_complete(summary)
    assert summary.sources == {"nbia": 0, "idc": 3}
    assert [request.endpoint for request in both.nbia.requests] == ["getSeries"]
    assert summary.checked_md5 == 3


@pytest.mark.parametrize("source", ["nbia", "idc"])
def test_a_chosen_source_is_the_only_archive_that_gets_requests(both: Both, source: str) -> None:
    if source == "idc":
        both.nbia_url = f"{nowhere()}/nbia-api/services/v4"
    else:
        both.idc_url = nowhere()
    summary = both.run(source=source)
    both.assert_complete(summary)
    assert summary.sources[source] == 3


def test_a_series_incomplete_in_idc_is_completed_from_nbia(both: Both) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    bucket, key = bucket_of(uid), object_key(uid, one.images[0].uid)
    both.s3.delete(bucket, key)
    try:
        summary = both.run()
        both.assert_complete(summary)
        filed = Tree(both.output / "COVID-19-AR").receipts.read(uid)
        assert filed is not None
        assert {image.source for image in filed.receipt.images} == {"nbia", "idc"}
    finally:
        both.s3.put(bucket, key, one.images[0].read())


def test_a_series_incomplete_in_nbia_is_completed_from_idc(both: Both) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    both.idc_url, url = nowhere(), both.idc_url
    both.faults.add(LostImage(uid=one.images[1].uid))
    assert both.run().exit_code == 1
    both.idc_url = url
    both.assert_complete(both.run())


def test_an_object_uploaded_in_parts_is_proved_by_nbia(both: Both) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    bucket, key = bucket_of(uid), object_key(uid, one.images[0].uid)
    both.s3.put_in_parts(bucket, key, one.images[0].read())
    try:
        both.assert_complete(both.run())
        filed = Tree(both.output / "COVID-19-AR").receipts.read(uid)
        assert filed is not None
        assert filed.receipt.check is Check.SERIES_MD5
        assert both.nbia.count("getMD5Hierarchy") == 1
    finally:
        both.s3.put(bucket, key, one.images[0].read())


def test_other_bytes_at_idc_are_detected_and_downloaded_from_nbia(both: Both) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    bucket, key = bucket_of(uid), object_key(uid, one.images[0].uid)
    content = one.images[0].read()
    both.s3.put_in_parts(bucket, key, content[:-1] + b"!")
    try:
        summary = both.run()
        both.assert_complete(summary)
    finally:
        both.s3.put(bucket, key, content)


def test_series_that_nbia_does_not_list_come_from_idc_and_are_reported(both: Both) -> None:
    both.faults.add(DropRows("getSeries", uids=(both.first(),), times=None))
    summary = both.run()
    both.assert_complete(summary)
    assert any("lists 2 of the 3" in notice for notice in summary.notices)


def test_pinned_to_nbia_the_series_that_it_does_not_list_are_named(both: Both) -> None:
    both.faults.add(DropRows("getSeries", uids=(both.first(),), times=None))
    summary = both.run(source="nbia")
    assert summary.exit_code == 1
    assert [(failure.series, failure.reason) for failure in summary.failures] == [
        (both.first(), "not-listed")
    ]


def test_what_is_not_listed_is_named(both: Both) -> None:
    both.faults.add(DropRows("getSeries", uids=(both.first(),), times=None))
    summary = both.run()
    (notice,) = summary.notices
    assert both.first() in notice
    (difference,) = summary_document(summary)["catalog_differences"]
    assert (difference["collection"], difference["only_catalog"]) == ("COVID-19-AR", [both.first()])


def test_a_list_that_is_accepted_is_not_added_to(both: Both) -> None:
    both.faults.add(DropRows("getSeries", uids=(both.first(),), times=None))
    summary = both.run(accept_listed=True)
    assert (summary.exit_code, summary.complete, summary.selected) == (0, 2, 2)
    assert any(both.first() in notice for notice in summary.notices)


def fewer_images(both: Both, endpoint: str = "getSeries") -> OtherRow:
    one = both.corpus.series(both.first())
    assert one is not None
    facts = {"ImageCount": len(one.images) - 1, "FileSize": 1}
    return OtherRow(endpoint, uid=one.uid, facts=facts, times=None)


def test_images_that_nbia_does_not_list_are_expected_all_the_same(both: Both) -> None:
    both.faults.add(fewer_images(both))
    summary = both.run()
    both.assert_complete(summary)
    assert any("fewer images" in n and both.first() in n for n in summary.notices)
    assert both.run().already_complete == 3


def test_pinned_to_nbia_a_series_listed_with_fewer_images_fails_and_existing_ones_stay(
    both: Both,
) -> None:
    both.assert_complete(both.run())
    both.faults.add(fewer_images(both))
    summary = both.run(source="nbia", update=True)
    (failure,) = summary.failures
    assert (failure.series, failure.reason) == (both.first(), "incomplete-list")
    assert "images of series" in failure.detail
    both.faults.clear()
    both.assert_complete(both.run())


def test_fewer_images_are_fetched_where_the_list_is_accepted(both: Both) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    size = sum(image.size for image in one.images[:-1])
    both.faults.add(
        OtherRow(
            "getSeries",
            uid=uid,
            facts={"ImageCount": len(one.images) - 1, "FileSize": size},
            times=None,
        ),
        LostImage(uid=one.images[-1].uid, times=None),
    )
    summary = both.run(source="nbia", accept_listed=True)
    assert (summary.exit_code, summary.failures) == (0, [])
    filed = Tree(both.output / "COVID-19-AR").receipts.read(uid)
    assert filed is not None
    assert len(filed.receipt.images) == len(one.images) - 1


def test_more_images_at_nbia_are_a_new_version_which_counts(both: Both) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    bucket, key = bucket_of(uid), object_key(uid, one.images[0].uid)
    older = replace(
        series_catalog.find([uid])[uid],
        image_count=len(one.images) - 1,
        size=sum(image.size for image in one.images[1:]),
    )
    both.lines[:] = [older if line.uid == uid else line for line in both.lines]
    both.s3.delete(bucket, key)
    try:
        summary = both.run()
        both.assert_complete(summary)
        assert any("other images" in n and uid in n for n in summary.notices)
    finally:
        both.s3.put(bucket, key, one.images[0].read())


@pytest.mark.parametrize("single", [False, True])
def test_silence_of_an_nbia_that_can_be_done_without_is_borne_once(
    both: Both, *, single: bool
) -> None:
    both.faults.add(SlowStart(("getSeries", "getSeriesMetadata"), seconds=30, times=None))
    summary = both.run(
        *([both.first()] if single else []), http=replace(QUICK, first_byte_timeout=1)
    )
    assert (summary.exit_code, summary.complete) == (0, 1 if single else 3)
    assert both.nbia.count("getSeries") + both.nbia.count("getSeriesMetadata") == 1
    assert any("sent nothing within" in notice for notice in summary.notices)


def test_single_series_without_nbia_are_reported_as_from_the_catalog(both: Both) -> None:
    both.nbia_url = f"{nowhere()}/nbia-api/services/v4"
    summary = both.run(both.first(), "1.2.3")
    assert summary.complete == 1
    assert [(failure.series, failure.reason) for failure in summary.failures] == [
        ("1.2.3", "archive-error")
    ]
    assert any("did not list 1 series" in notice for notice in summary.notices)


def test_a_single_series_that_nbia_does_not_list_comes_from_idc_and_is_reported(both: Both) -> None:
    both.faults.add(EmptyAnswer("getSeriesMetadata", times=None))
    summary = both.run(both.first())
    assert (summary.exit_code, summary.complete) == (0, 1)
    assert any(both.first() in notice for notice in summary.notices)


@pytest.mark.parametrize("options", [{"source": "nbia"}, {"accept_listed": True}])
def test_a_single_series_that_idc_alone_has_fails_where_nbia_counts(
    both: Both, options: dict[str, Any]
) -> None:
    both.faults.add(EmptyAnswer("getSeriesMetadata", times=None))
    (failure,) = both.run(both.first(), **options).failures
    assert (failure.series, failure.reason) == (both.first(), "not-listed")
    assert "--source auto" in failure.hint


def test_archives_that_fail_in_turn_complete_the_job_between_them(both: Both) -> None:
    both.faults.add(Status("getImage", code=503, times=2))
    both.idc_url, url = nowhere(), both.idc_url
    both.run(first := "COVID-19-AR")
    both.idc_url = url
    both.assert_complete(both.run(first))


def test_archives_that_both_fail_in_the_middle_of_a_series_complete_it_together(
    both: Both,
) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    missing = [object_key(uid, image.uid) for image in one.images[::2]]
    both.faults.add(Status("getImage", series=uid, code=500, times=None))
    for image in one.images[1::2]:
        both.faults.add(Status("getSingleImage", image=image.uid, code=500, times=None))
    with S3Proxy(both.s3.port, *(SlowDown(key, times=None) for key in missing)) as proxy:
        both.idc_url = proxy.url
        both.assert_complete(both.run())
    filed = Tree(both.output / "COVID-19-AR").receipts.read(uid)
    assert filed is not None
    assert {image.source for image in filed.receipt.images} == {"nbia", "idc"}


def test_a_receipt_says_where_images_came_from_that_an_earlier_run_left(both: Both) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    missing = object_key(uid, one.images[0].uid)
    with S3Proxy(both.s3.port, Say(missing, status=404, times=None)) as proxy:
        both.idc_url = proxy.url
        assert both.run(source="idc").exit_code == 1
    both.idc_url = nowhere()
    both.assert_complete(both.run())
    filed = Tree(both.output / "COVID-19-AR").receipts.read(uid)
    assert filed is not None
    came_from = {image.uid: image.source for image in filed.receipt.images}
    assert came_from.pop(one.images[0].uid) == "nbia"
    assert set(came_from.values()) == {"idc"}


def test_an_old_version_at_idc_is_replaced_by_the_one_on_record(both: Both) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    bucket, key = bucket_of(uid), object_key(uid, one.images[0].uid)
    content = one.images[0].read()
    both.s3.put(bucket, key, content + b"\0\0")
    try:
        both.assert_complete(both.run())
        again = both.run()
        assert (again.exit_code, again.already_complete) == (0, 3)
    finally:
        both.s3.put(bucket, key, content)


def test_a_page_in_place_of_idc_is_not_requested_for_every_series(both: Both) -> None:
    with S3Proxy(both.s3.port, Say(times=None, body=b"<html>log in</html>")) as proxy:
        both.idc_url = proxy.url
        summary = both.run(*FIVE, jobs=2)
        both.assert_complete(summary, *FIVE)
        assert len(proxy.seen) <= 8, (
            "of six series at once, and of two begun before the third failed"
        )
    assert summary.sources == {"nbia": 15, "idc": 0}


def test_an_unreachable_nbia_is_not_asked_for_hashes_of_every_series(both: Both) -> None:
    parted = [item for item in both.corpus if item.collection == "COVID-19-AR"]
    for item in parted:
        key = object_key(item.uid, item.images[0].uid)
        both.s3.put_in_parts(bucket_of(item.uid), key, item.images[0].read())
    both.faults.add(Status(("getMD5Hierarchy", "getMD5HashForImage"), code=503, times=None))
    try:
        summary = both.run(jobs=1)
        both.assert_complete(summary)
        assert summary.checked_size == 0, "their ETags prove them"
        assert sum("MD5" in request.endpoint for request in both.nbia.requests) <= 8
    finally:
        for item in parted:
            key = object_key(item.uid, item.images[0].uid)
            both.s3.put(bucket_of(item.uid), key, item.images[0].read())


def test_compare_shows_what_differs(both: Both) -> None:
    both.faults.add(DropRows("getSeries", uids=(both.first(),), times=None))
    request = Request(
        ("COVID-19-AR",),
        str(both.output),
        options=Options(nbia_url=both.nbia_url, http=QUICK),
    )
    found = compare_with_catalog(request)
    assert both.first() in json.dumps(found, default=str)


@pytest.mark.parametrize(
    ("target", "source", "said"),
    [("COVID-19-AR", "idc", "--source idc"), ("1.2.3", "auto", "not a collection")],
)
def test_a_comparison_that_makes_no_sense_is_refused(target: str, source: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compare_with_catalog(Request((target,), "data", options=Options(source=source)))


def test_a_series_of_2464_images_is_listed_page_by_page_and_comes_many_at_a_time(
    both: Both,
) -> None:
    largest = series_of(2464, images=2464, rows=2)
    both.lines.append(both.s3.hold(largest))
    with S3Proxy(both.s3.port, Delay(".dcm", seconds=0.01, times=None)) as proxy:
        summary = both.run(largest.uid, source="idc", idc_url=proxy.url)
        assert len(proxy.lists()) == 3
        assert len(proxy.objects()) == 2464
        assert proxy.most_at_once >= 4
    assert (summary.exit_code, summary.images_stored, summary.checked_md5) == (0, 2464, 1)
    files = files_of(both.output / largest.collection)
    assert {k: v for k, v in files.items() if k.endswith(".dcm")} == expected_files(largest)


def test_fault_38_a_long_pause_for_one_object_is_not_waited_out_while_nbia_works(
    both: Both,
) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    key = object_key(uid, one.images[0].uid)
    with S3Proxy(
        both.s3.port, SlowDown(key, times=None, headers={"Retry-After": "10000"})
    ) as proxy:
        both.idc_url = proxy.url
        with soon():
            summary = both.run(jobs=2)
        both.assert_complete(summary)
        assert sum(key in seen.path for seen in proxy.seen) == 1, "the pause is obeyed"


@pytest.mark.parametrize("status", [301, 403, 404, 500])
@pytest.mark.parametrize("on", ["", ".dcm"], ids=["all", "objects"])
def test_fault_38_nbia_is_used_if_all_endpoints_refuse(both: Both, on: str, status: int) -> None:
    with S3Proxy(both.s3.port, Say(on, times=None, status=status)) as proxy:
        both.idc_url = f"{proxy.url}/1,{proxy.url}/2"
        both.assert_complete(both.run())


def test_fault_38_an_endpoint_that_refuses_everything_is_replaced_by_the_next(both: Both) -> None:
    with S3Proxy(both.s3.port, Say(times=None, status=403)) as proxy:
        both.idc_url = f"{proxy.url},{both.s3.url}"
        summary = both.run(*FIVE, jobs=1)
        both.assert_complete(summary, *FIVE)
        assert summary.sources == {"nbia": 0, "idc": 15}
        # Three series in a row; another one may be in progress by then.
        assert len(proxy.seen) in {3, 4}


@pytest.mark.parametrize("status", [403, 404, 500])
def test_fault_39_only_the_bad_object_of_a_series_comes_from_nbia(both: Both, status: int) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    bad = Say(object_key(uid, one.images[0].uid), times=None, status=status)
    with S3Proxy(both.s3.port, bad) as proxy:
        both.idc_url = proxy.url
        both.assert_complete(both.run())
    filed = Tree(both.output / "COVID-19-AR").receipts.read(uid)
    assert filed is not None
    assert {image.uid: image.source for image in filed.receipt.images} == {
        image.uid: "nbia" if image is one.images[0] else "idc" for image in one.images
    }
    assert both.nbia.count("getImage") == 0
    assert both.nbia.count("getSingleImage") == 1


def test_fault_40_a_silent_object_is_requested_once_and_then_from_nbia(both: Both) -> None:
    uid = both.first()
    one = both.corpus.series(uid)
    assert one is not None
    key = object_key(uid, one.images[0].uid)
    with S3Proxy(both.s3.port, Delay(key, seconds=1)) as proxy:
        both.idc_url = proxy.url
        both.assert_complete(both.run(http=replace(QUICK, first_byte_timeout=0.5)))
        assert sum(key in seen.path for seen in proxy.seen) == 1
