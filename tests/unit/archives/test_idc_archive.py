from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.core.errors import (
    BadResponseError,
    NotAvailableError,
    StatusError,
    UnknownCollectionError,
    UnreachableError,
    UsageError,
)
from tcia_covid.core.models import RemoteImage, Series
from tcia_covid.http.client import Client
from tests.fakes import s3
from tests.fakes.corpus import DemoSeries
from tests.fakes.s3 import BUCKET, QUICK, S3Server, cataloged, idc_of, series_of
from tests.fakes.s3_faults import Say, SlowDown
from tests.fakes.s3_proxy import S3Proxy
from tests.unit.archives.idc_helpers import DEAD, key_of, md5s, md5s_of, received, sink_for

running_s3 = s3.running_s3
numbers = itertools.count(501)


@pytest.fixture
def demo() -> DemoSeries:
    """A series of four images that no other test has."""
    return series_of(next(numbers))


def test_one_image_is_fetched_by_its_key(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    with idc_of(s3_server.url, series) as archive:
        sink = sink_for(series, tmp_path)
        stored = archive.receive_image(series, RemoteImage(key=key_of(demo, 3)), sink)
        assert (stored.uid, stored.source) == (demo.images[3].uid, "idc")
        with pytest.raises(NotAvailableError, match="by key"):
            archive.receive_image(series, RemoteImage(uid=demo.images[3].uid), sink)


def test_a_series_from_another_list_is_found_in_the_catalog(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    elsewhere = replace(series, bucket=None, crdc_uuid=None)
    with idc_of(s3_server.url, series) as archive:
        assert archive.has(elsewhere)
        assert md5s_of(received(archive, elsewhere, tmp_path)) == md5s(demo)


@pytest.mark.parametrize(
    "location",
    [
        {"bucket": None, "crdc_uuid": None},
        {"bucket": "", "crdc_uuid": ""},
        {"bucket": "evil.example/", "crdc_uuid": "folder"},
        {"bucket": BUCKET, "crdc_uuid": "../other"},
    ],
)
def test_a_series_without_a_valid_folder_is_not_available(
    demo: DemoSeries, tmp_path: Path, location: dict[str, str | None]
) -> None:
    series = replace(cataloged(demo), **location)  # type: ignore[arg-type]
    with idc_of(DEAD) as archive:
        assert not archive.has(series)
        for ask in (archive.images, lambda series: received(archive, series, tmp_path)):
            with pytest.raises(NotAvailableError, match="knows no folder"):
                ask(series)


def test_an_empty_folder_is_not_available(s3_server: S3Server, demo: DemoSeries) -> None:
    s3_server.make_bucket(BUCKET)
    series = cataloged(demo)
    with (
        idc_of(s3_server.url, series) as archive,
        pytest.raises(NotAvailableError, match="no image of series"),
    ):
        archive.images(series)


def test_a_wrong_bucket_is_no_right_answer(s3_server: S3Server, demo: DemoSeries) -> None:
    series = cataloged(demo, "no-such-bucket")
    with (
        idc_of(s3_server.url, series) as archive,
        pytest.raises(BadResponseError, match="there is no bucket"),
    ):
        archive.images(series)


def test_a_closed_bucket_is_reported_with_its_status(s3_server: S3Server, demo: DemoSeries) -> None:
    series = cataloged(demo)
    denied = Say(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    with (
        S3Proxy(s3_server.port, denied) as proxy,
        idc_of(proxy.url, series) as archive,
        pytest.raises(StatusError, match="HTTP 403: AccessDenied"),
    ):
        archive.images(series)


def test_lists_come_from_the_catalog_without_a_network() -> None:
    first, second = cataloged(series_of(901)), cataloged(series_of(902))
    with idc_of(DEAD, second, first) as archive:
        assert archive.list_collection("SYNTHETIC") == [second, first]
        assert archive.list_series([second.uid, "9.9.9", first.uid]) == [first, second]
        with pytest.raises(NotAvailableError, match="OTHER"):
            archive.list_collection("OTHER")


def test_a_collection_that_the_catalog_refuses_is_not_available() -> None:
    def refuse(collection: str) -> list[Series]:
        raise UnknownCollectionError(collection)

    client = Client(QUICK)
    archive = IdcArchive(client, find=lambda uids: {}, list_all=refuse)
    with pytest.raises(NotAvailableError):
        archive.list_collection("OTHER")
    client.close()


def test_there_are_no_hashes_but_those_of_the_list(demo: DemoSeries) -> None:
    series = cataloged(demo)
    with idc_of(DEAD, series) as archive:
        assert archive.series_md5(series) is None
        assert archive.image_md5(series, demo.images[0].uid) is None


def test_a_dead_host_is_skipped_in_favor_of_the_next(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    with (
        S3Proxy(s3_server.port, Say(times=None, status=500)) as broken,
        idc_of(f"{DEAD},{broken.url},{s3_server.url}", series) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        before = len(broken.seen)
        archive.images(series)
        assert len(broken.seen) == before == 1


def test_a_host_that_dies_in_the_middle_is_replaced_by_the_next(
    s3_server: S3Server, tmp_path: Path
) -> None:
    demo = series_of(next(numbers), images=12)
    series = s3_server.hold(demo)
    with (
        S3Proxy(s3_server.port, Say(".dcm", skip=5, times=None, status=502)) as dying,
        S3Proxy(s3_server.port) as other,
        idc_of(f"{dying.url},{other.url}", series) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        assert len(other.objects()) == 12 - 5


def test_hosts_that_are_all_dead_are_reported(demo: DemoSeries) -> None:
    series = cataloged(demo)
    with idc_of(f"{DEAD},{DEAD}/2", series) as archive, pytest.raises(UnreachableError):
        archive.images(series)


def test_a_host_that_fails_is_reported_with_its_status(
    s3_server: S3Server, demo: DemoSeries
) -> None:
    series = cataloged(demo)
    with (
        S3Proxy(s3_server.port, SlowDown(times=None)) as proxy,
        idc_of(proxy.url, series) as archive,
        pytest.raises(StatusError, match="SlowDown"),
    ):
        archive.images(series)


def test_an_unusable_endpoint_is_refused_at_once() -> None:
    client = Client(QUICK)
    with pytest.raises(UsageError):
        IdcArchive(client, "s3://idc-open-data", find=lambda uids: {}, list_all=lambda name: [])
