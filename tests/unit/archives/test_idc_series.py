"""Whole series from IDC: many objects at once, and what may go wrong with each."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from tcia_covid.archives.idc.archive import IdcArchive, threads_for
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    BadResponseError,
    InterruptedRunError,
    NoSpaceError,
    NotAvailableError,
)
from tcia_covid.core.models import Check, RemoteImage, StoredImage
from tcia_covid.demo.corpus import DemoSeries
from tcia_covid.http.client import Client
from tcia_covid.store.disk import Disk
from tcia_covid.store.staging import Staging
from tests.fakes import s3
from tests.fakes.s3 import BUCKET, QUICK, RESTRICTED_BUCKET, S3Server, idc_of, object_key, series_of
from tests.fakes.s3_faults import Cut, Delay, Meanwhile, Say, SlowDown
from tests.fakes.s3_front import Front
from tests.unit.archives.idc_helpers import key_of, md5s, md5s_of, received, sink_for
from tests.waiting import soon

running_s3 = s3.running_s3
numbers = itertools.count(1)


@pytest.fixture
def demo() -> DemoSeries:
    """A series of four images that no other test has."""
    return series_of(next(numbers))


def test_a_series_arrives_whole_and_proved_by_its_etags(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    with idc_of(s3_server.url, series) as archive:
        sink = received(archive, series, tmp_path)
    assert md5s_of(sink) == sink.stored_md5 == md5s(demo)
    assert {image.source for image in sink.images.values()} == {"idc"}
    assert sink.unproven() == sink.wrong() == []


def test_a_series_lies_in_the_bucket_that_the_catalog_names(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo, RESTRICTED_BUCKET)
    with idc_of(s3_server.url, series) as archive:
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)


def test_images_uploaded_in_parts_are_proved_by_the_hash_of_their_parts(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    parted = demo.images[1].uid
    series = s3_server.hold(demo, in_parts=[parted])
    with idc_of(s3_server.url, series) as archive:
        sink = received(archive, series, tmp_path)
    assert md5s_of(sink) == md5s(demo)
    assert sink.unproven() == []
    assert sink.images[parted].check is Check.MD5


def test_images_are_listed_with_key_size_and_hash(s3_server: S3Server, demo: DemoSeries) -> None:
    series = s3_server.hold(demo)
    with idc_of(s3_server.url, series) as archive:
        images = {image.key: image for image in archive.images(series)}
    first = demo.images[0]
    assert images.keys() == {object_key(demo.uid, image.uid) for image in demo.images}
    assert images[key_of(demo)] == RemoteImage(
        key=key_of(demo), size=first.size, md5=first.md5, version=first.md5
    )


def test_what_is_here_already_is_not_fetched_again(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    with Front(s3_server.port) as front, idc_of(front.url, series) as archive:
        sink = received(archive, series, tmp_path)
        sink.discard(demo.images[2].uid)
        front.seen.clear()
        archive.receive_series(series, sink)
        (seen,) = front.objects()
    assert key_of(demo, 2) in seen.path
    assert md5s_of(sink) == md5s(demo)


def test_many_images_are_fetched_at_once(s3_server: S3Server, tmp_path: Path) -> None:
    demo = series_of(next(numbers), images=40)
    series = s3_server.hold(demo)
    with (
        Front(s3_server.port, Delay(".dcm")) as front,
        idc_of(front.url, series, connections=16) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        assert 5 <= front.most_at_once <= 8


def test_the_pace_bounds_all_series_together(s3_server: S3Server, tmp_path: Path) -> None:
    demos = [series_of(next(numbers), images=12) for _ in range(3)]
    held = [s3_server.hold(demo) for demo in demos]
    with (
        Front(s3_server.port, Delay(".dcm", seconds=0.01)) as front,
        idc_of(front.url, *held, connections=3) as archive,
    ):
        threads = [
            threading.Thread(target=received, args=(archive, series, tmp_path / series.uid))
            for series in held
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert front.most_at_once == 3
        assert len(front.objects()) == 36


def test_a_small_series_is_fetched_on_one_connection(s3_server: S3Server, tmp_path: Path) -> None:
    demo = series_of(next(numbers), images=2)
    series = s3_server.hold(demo)
    with Front(s3_server.port) as front, idc_of(front.url, series) as archive:
        received(archive, series, tmp_path)
        assert len({seen.connection for seen in front.seen}) == 1


def test_connections_are_used_again_for_the_next_series(
    s3_server: S3Server, tmp_path: Path
) -> None:
    held = [s3_server.hold(series_of(next(numbers), images=12)) for _ in range(4)]
    with (
        Front(s3_server.port, Delay(".dcm", seconds=0.005)) as front,
        idc_of(front.url, *held, connections=4) as archive,
    ):
        for series in held:
            received(archive, series, tmp_path / series.uid)
        # The caller's own, and at most as many helpers as the pace has places.
        assert len({seen.connection for seen in front.seen}) <= 5


def test_a_cut_image_goes_on_where_it_stopped(s3_server: S3Server, tmp_path: Path) -> None:
    demo = series_of(next(numbers), images=3, rows=300)
    series = s3_server.hold(demo)
    with (
        Front(s3_server.port, Cut(".dcm", skip=1, after_bytes=100_000)) as front,
        idc_of(front.url, series) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        assert len(front.objects()) == 4
        assert front.sent < (series.size or 0) + demo.images[0].size


def test_a_push_back_costs_a_request_and_not_the_series(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    with (
        Front(s3_server.port, SlowDown(".dcm", times=3)) as front,
        idc_of(front.url, series) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        assert len(front.objects()) == 7
        assert len(front.lists()) == 1


def test_an_image_that_is_gone_does_not_hold_up_the_others(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    gone = Meanwhile(".dcm", act=lambda: s3_server.delete(BUCKET, key_of(demo, 1)))
    with Front(s3_server.port, gone) as front, idc_of(front.url, series) as archive:
        sink = received(archive, series, tmp_path)
        assert sink.images.keys() == md5s(demo).keys() - {demo.images[1].uid}
        with pytest.raises(NotAvailableError, match="it does not exist"):
            archive.receive_image(series, RemoteImage(key=key_of(demo, 1)), sink)


def test_an_image_that_changes_after_it_was_listed_is_had_by_listing_again(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    newer = demo.images[0].read()[:-2] + b"\1\1"
    series = s3_server.hold(demo)
    change = Meanwhile(".dcm", act=lambda: s3_server.put(BUCKET, key_of(demo), newer))
    with Front(s3_server.port, change) as front, idc_of(front.url, series) as archive:
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


def test_an_error_keeps_what_has_arrived_and_begins_nothing_further(
    s3_server: S3Server, tmp_path: Path
) -> None:
    demo = series_of(next(numbers), images=40)
    series = s3_server.hold(demo)
    broken = Say(".dcm", skip=10, status=204)
    with (
        Front(s3_server.port, broken) as front,
        idc_of(front.url, series) as archive,
    ):
        sink = sink_for(series, tmp_path)
        with pytest.raises(BadResponseError, match="HTTP 204"):
            archive.receive_series(series, sink)
        asked = len(front.objects())
        assert asked < 40
        assert len(sink.images) == asked - 1
        archive.receive_series(series, sink)
        assert len(front.objects()) == 40 + 1
    assert md5s_of(sink) == md5s(demo)


def test_a_stop_ends_all_threads_soon(s3_server: S3Server, tmp_path: Path) -> None:
    demo = series_of(next(numbers), images=40)
    series = s3_server.hold(demo)
    stop = CancelToken()
    client = Client(QUICK, stop=stop)
    with Front(s3_server.port, Delay(".dcm", seconds=0.3)) as front:
        archive = IdcArchive(client, front.url, find=lambda uids: {}, list_all=lambda name: [])
        threading.Timer(0.2, stop.set).start()
        with soon(), pytest.raises(InterruptedRunError):
            received(archive, series, tmp_path)
        client.close()
    assert not list(tmp_path.glob(".*.part"))


def test_an_error_of_the_sink_is_raised_and_no_place_is_lost(
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
