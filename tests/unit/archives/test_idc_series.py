"""Whole series from IDC: many objects at once, and what may go wrong with each."""

from __future__ import annotations

import hashlib
import itertools
import threading
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

import pytest

from tcia_covid.archives.idc.archive import IdcArchive, threads_for
from tcia_covid.archives.idc.s3 import parse_goog_hash
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    BadResponseError,
    ForeignImageError,
    InterruptedRunError,
    NoSpaceError,
    NotAvailableError,
    StatusError,
)
from tcia_covid.core.models import RemoteImage, StoredImage
from tcia_covid.http.client import Client
from tcia_covid.store.disk import Disk
from tcia_covid.store.staging import Staging
from tests.fakes import s3
from tests.fakes.corpus import DemoSeries
from tests.fakes.s3 import BUCKET, QUICK, RESTRICTED_BUCKET, S3Server, idc_of, object_key, series_of
from tests.fakes.s3_faults import Cut, Delay, Fault, Forge, Meanwhile, Rewrite, Say, SlowDown
from tests.fakes.s3_proxy import S3Proxy
from tests.unit.archives.idc_helpers import key_of, md5s, md5s_of, received, sink_for
from tests.waiting import soon

running_s3 = s3.running_s3
numbers = itertools.count(1)


@pytest.fixture
def demo() -> DemoSeries:
    """A series of four images that no other test has."""
    return series_of(next(numbers))


def test_a_series_arrives_completely_and_verified_by_its_etags(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    with idc_of(s3_server.url, series) as archive:
        sink = received(archive, series, tmp_path)
    assert md5s_of(sink) == sink.stored_md5 == md5s(demo)
    assert {image.source for image in sink.images.values()} == {"idc"}
    assert sink.unproven() == sink.wrong() == []


def test_a_series_is_in_the_bucket_that_the_catalog_names(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo, RESTRICTED_BUCKET)
    with idc_of(s3_server.url, series) as archive:
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)


def test_images_uploaded_in_parts_are_recognized_by_the_hash_of_their_parts(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    parted = demo.images[1].uid
    series = s3_server.hold(demo, in_parts=[parted])
    with idc_of(s3_server.url, series) as archive:
        sink = received(archive, series, tmp_path)
    assert md5s_of(sink) == md5s(demo)
    assert sink.unproven() == [parted], "the archive of record is asked first"
    assert sink.etag_matches == {parted}


@pytest.mark.parametrize("is_right", [True, False])
def test_the_hash_in_googles_responses_verifies_images_uploaded_in_parts(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path, is_right: bool
) -> None:
    parted = demo.images[1]
    series = s3_server.hold(demo, in_parts=[parted.uid])
    content = parted.read() if is_right else b"other"
    md5 = b64encode(hashlib.md5(content).digest()).decode()
    forged = Forge(on=key_of(demo, 1), headers={"x-goog-hash": f"crc32c=n03x6A==,md5={md5}"})
    with S3Proxy(s3_server.port, forged) as proxy, idc_of(proxy.url, series) as archive:
        sink = received(archive, series, tmp_path)
    assert parted.uid not in sink.unproven()
    assert sink.wrong() == ([] if is_right else [parted.uid])


@pytest.mark.parametrize("header", ["", "crc32c=n03x6A==", "md5=", "md5=AAAA", "md5=*"])
def test_a_header_without_a_usable_md5_has_none(header: str) -> None:
    assert parse_goog_hash(header) is None


def test_images_are_listed_with_key_size_and_hash(s3_server: S3Server, demo: DemoSeries) -> None:
    series = s3_server.hold(demo)
    with idc_of(s3_server.url, series) as archive:
        images = {image.key: image for image in archive.images(series)}
    first = demo.images[0]
    assert images.keys() == {object_key(demo.uid, image.uid) for image in demo.images}
    assert images[key_of(demo)] == RemoteImage(
        key=key_of(demo), size=first.size, md5=first.md5, version=first.md5
    )


def test_a_stored_image_is_not_downloaded_again(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    with S3Proxy(s3_server.port) as proxy, idc_of(proxy.url, series) as archive:
        sink = received(archive, series, tmp_path)
        sink.discard(demo.images[2].uid)
        proxy.seen.clear()
        archive.receive_series(series, sink)
        (request,) = proxy.objects()
    assert key_of(demo, 2) in request.path
    assert md5s_of(sink) == md5s(demo)


def test_many_images_are_fetched_at_once(s3_server: S3Server, tmp_path: Path) -> None:
    demo = series_of(next(numbers), images=40)
    series = s3_server.hold(demo)
    with (
        S3Proxy(s3_server.port, Delay(".dcm")) as proxy,
        idc_of(proxy.url, series, connections=16) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        assert 5 <= proxy.most_at_once <= 8


def test_the_limit_bounds_all_series_together(s3_server: S3Server, tmp_path: Path) -> None:
    demos = [series_of(next(numbers), images=12) for _ in range(3)]
    stored = [s3_server.hold(demo) for demo in demos]
    with (
        S3Proxy(s3_server.port, Delay(".dcm", seconds=0.01)) as proxy,
        idc_of(proxy.url, *stored, connections=3) as archive,
    ):
        threads = [
            threading.Thread(target=received, args=(archive, series, tmp_path / series.uid))
            for series in stored
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert proxy.most_at_once == 3
        assert len(proxy.objects()) == 36


def test_a_small_series_is_fetched_on_one_connection(s3_server: S3Server, tmp_path: Path) -> None:
    demo = series_of(next(numbers), images=2)
    series = s3_server.hold(demo)
    with S3Proxy(s3_server.port) as proxy, idc_of(proxy.url, series) as archive:
        received(archive, series, tmp_path)
        assert len({request.connection for request in proxy.seen}) == 1


def test_connections_are_used_again_for_the_next_series(
    s3_server: S3Server, tmp_path: Path
) -> None:
    stored = [s3_server.hold(series_of(next(numbers), images=12)) for _ in range(4)]
    with (
        S3Proxy(s3_server.port, Delay(".dcm", seconds=0.005)) as proxy,
        idc_of(proxy.url, *stored, connections=4) as archive,
    ):
        for series in stored:
            received(archive, series, tmp_path / series.uid)
        # The caller's own, and at most as many helpers as the pace has places.
        assert len({request.connection for request in proxy.seen}) <= 5


def test_a_cut_image_resumes_where_it_stopped(s3_server: S3Server, tmp_path: Path) -> None:
    demo = series_of(next(numbers), images=3, rows=300)
    series = s3_server.hold(demo)
    with (
        S3Proxy(s3_server.port, Cut(".dcm", skip=1, after_bytes=100_000)) as proxy,
        idc_of(proxy.url, series) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        assert len(proxy.objects()) == 4
        assert proxy.sent < (series.size or 0) + demo.images[0].size


def test_objects_that_fail_are_requested_after_all_others(
    s3_server: S3Server, tmp_path: Path
) -> None:
    demo = series_of(next(numbers), images=12)
    series = s3_server.hold(demo)
    busy = [SlowDown(key_of(demo, index), times=2) for index in (0, 5)]
    with S3Proxy(s3_server.port, *busy) as proxy, idc_of(proxy.url, series) as archive:
        sink = sink_for(series, tmp_path)
        with pytest.raises(StatusError, match="SlowDown"):
            archive.receive_series(series, sink)
        assert len(sink.images) == 10
        with pytest.raises(StatusError, match="SlowDown"):
            archive.receive_series(series, sink)
        archive.receive_series(series, sink)
        assert md5s_of(sink) == md5s(demo)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_fault_39_every_other_object_is_stored_before_a_refused_one_is_reported(
    s3_server: S3Server, tmp_path: Path, status: int
) -> None:
    demo = series_of(next(numbers), images=20)
    series = s3_server.hold(demo)
    refused = [Say(key_of(demo, index), times=None, status=status) for index in range(5)]
    with S3Proxy(s3_server.port, *refused) as proxy, idc_of(proxy.url, series) as archive:
        sink = sink_for(series, tmp_path)
        with pytest.raises((NotAvailableError, StatusError)):
            archive.receive_series(series, sink)
        assert sink.images.keys() == {image.uid for image in demo.images[5:]}
        assert len(proxy.objects()) == 20


def test_fault_39_an_object_of_another_series_does_not_delay_the_others(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    other = series_of(next(numbers)).images[0].read()
    series = s3_server.hold(demo)
    s3_server.put(BUCKET, key_of(demo, 1), other)
    with idc_of(s3_server.url, series) as archive:
        sink = sink_for(series, tmp_path)
        with pytest.raises(ForeignImageError):
            archive.receive_series(series, sink)
        assert sink.images.keys() == md5s(demo).keys() - {demo.images[1].uid}


@pytest.mark.parametrize(
    "lie",
    [
        Say(".dcm", times=None, status=404),
        Say(".dcm", times=None, status=403),
        Say(".dcm", times=None, status=301),
        Say(".dcm", times=None, body=b"<html>log in</html>"),
        Rewrite(".dcm", times=None, change=lambda body: body[:-2] + b"\1\1"),
        Say("list-type", times=None, status=403),
        Say("list-type", times=None, status=404),
        Say("list-type", times=None, status=302),
        Say("list-type", times=None, body=b"<html>log in</html>"),
        Say(times=None, status=403),
    ],
)
def test_fault_38_after_an_endpoint_that_refuses_or_sends_wrong_data_the_next_is_used(
    s3_server: S3Server, tmp_path: Path, lie: Fault
) -> None:
    demo = series_of(next(numbers), images=12)
    series = s3_server.hold(demo)
    with (
        S3Proxy(s3_server.port, lie) as liar,
        S3Proxy(s3_server.port) as other,
        idc_of(f"{liar.url},{other.url}", series, connections=2) as archive,
    ):
        sink = received(archive, series, tmp_path)
        assert md5s_of(sink) == md5s(demo)
        assert sink.wrong() == []
        assert len(liar.objects()) <= 3 + 2, "three in a row, by three threads"


def test_fault_39_only_the_bad_objects_of_an_endpoint_are_fetched_from_the_next(
    s3_server: S3Server, tmp_path: Path
) -> None:
    demo = series_of(next(numbers), images=12)
    series = s3_server.hold(demo)
    lies = [
        Say(key_of(demo, 0), times=None, status=403),
        Rewrite(key_of(demo, 4), times=None, change=lambda body: body[:-2] + b"\1\1"),
    ]  # a third one could be the third in a row, and the endpoint would be skipped
    with (
        S3Proxy(s3_server.port, *lies) as first,
        S3Proxy(s3_server.port) as other,
        idc_of(f"{first.url},{other.url}", series, connections=1) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        assert len(first.objects()) == 12
        assert len(other.objects()) == 2


def test_fault_38_a_long_pause_of_one_endpoint_is_not_waited_for(
    s3_server: S3Server, tmp_path: Path
) -> None:
    demo = series_of(next(numbers), images=12)
    series = s3_server.hold(demo)
    pause = SlowDown(key_of(demo, 3), times=None, headers={"Retry-After": "10000"})
    with (
        S3Proxy(s3_server.port, pause) as first,
        S3Proxy(s3_server.port) as other,
        idc_of(f"{first.url},{other.url}", series, max_pause=5) as archive,
        soon(),
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        before = len(first.seen)
        assert len(archive.images(series)) == 12
        assert len(first.seen) == before, "the pause is obeyed"


def test_an_image_that_changed_after_it_was_listed_is_listed_again(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    newer = demo.images[0].read()[:-2] + b"\1\1"
    series = s3_server.hold(demo)
    change = Meanwhile(".dcm", act=lambda: s3_server.put(BUCKET, key_of(demo), newer))
    with S3Proxy(s3_server.port, change) as proxy, idc_of(proxy.url, series) as archive:
        sink = sink_for(series, tmp_path)
        with pytest.raises(BadResponseError) as caught:
            archive.receive_series(series, sink)
        assert caught.value.retryable
        archive.receive_series(series, sink)
    assert len(sink.images) == 4
    assert (tmp_path / f"{demo.images[0].uid}.dcm.staged").read_bytes() == newer


def test_an_image_that_is_refused_ends_the_series(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    s3_server.put(BUCKET, key_of(demo), demo.images[0].read(), public=False)
    with (
        idc_of(s3_server.url, series) as archive,
        pytest.raises(NotAvailableError, match="access is denied"),
    ):
        received(archive, series, tmp_path)


def test_an_endpoint_that_fails_repeatedly_gets_no_requests_for_the_other_objects(
    s3_server: S3Server, tmp_path: Path
) -> None:
    demo = series_of(next(numbers), images=40)
    series = s3_server.hold(demo)
    broken = Say(".dcm", skip=10, times=None, status=500)
    with S3Proxy(s3_server.port, broken) as proxy, idc_of(proxy.url, series) as archive:
        sink = sink_for(series, tmp_path)
        with pytest.raises(StatusError, match="HTTP 500"):
            archive.receive_series(series, sink)
        assert len(sink.images) == 10
        most = 10 + 3 + 2 * 8
        assert len(proxy.objects()) <= most, "three in a row; late successes of eight threads reset"


def test_cancellation_ends_all_threads_soon(s3_server: S3Server, tmp_path: Path) -> None:
    demo = series_of(next(numbers), images=40)
    series = s3_server.hold(demo)
    stop = CancelToken()
    client = Client(QUICK, stop=stop)
    with S3Proxy(s3_server.port, Delay(".dcm", seconds=0.3)) as proxy:
        archive = IdcArchive(client, proxy.url, find=lambda uids: {}, list_all=lambda name: [])
        threading.Timer(0.2, stop.set).start()
        with soon(), pytest.raises(InterruptedRunError):
            received(archive, series, tmp_path)
        client.close()
    assert not list(tmp_path.glob(".*.part"))


def test_an_error_of_the_sink_is_raised_and_no_slot_is_lost(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)

    class Full(Staging):
        def receive(
            self, chunks: Iterable[bytes], *, source: str, image: RemoteImage | None = None
        ) -> StoredImage:
            next(iter(chunks))
            raise NoSpaceError("no space left")

    with idc_of(s3_server.url, series, connections=2) as archive:
        full = Full(series, tmp_path, Disk(durable=False), lambda count: None)
        for _ in range(3):
            with pytest.raises(NoSpaceError):
                archive.receive_series(series, full)
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)


@pytest.mark.parametrize(
    ("count", "size", "threads"),
    [
        (0, 0, 1),
        (1, 30_000_000, 1),
        (2, 500_000, 1),
        (2, 20_000_000, 2),
        (20, 500_000, 6),
        (20, 30_000_000, 8),
        (2464, 500_000, 8),
    ],
)
def test_the_threads_of_a_series_follow_count_and_size(count: int, size: int, threads: int) -> None:
    images = [RemoteImage(key=str(number), size=size) for number in range(count)]
    assert threads_for(images) == threads
