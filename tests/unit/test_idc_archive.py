from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.archives.idc import IdcArchive
from tcia_covid.archives.idc.archive import threads_for
from tcia_covid.demo.holdings import DemoSeries
from tcia_covid.errors import (
    BadAnswerError,
    InterruptedRunError,
    NoSpaceError,
    NotAvailableError,
    StatusError,
    UnknownCollectionError,
    UnreachableError,
    UsageError,
)
from tcia_covid.http import Client
from tcia_covid.model import RemoteImage, Series, StoredImage
from tcia_covid.stop import Stop
from tcia_covid.store import Staging
from tcia_covid.store.disk import Disk
from tests.fakes import s3
from tests.fakes.s3 import (
    BUCKET,
    QUICK,
    RESTRICTED_BUCKET,
    S3Server,
    catalogued,
    idc_of,
    object_key,
    series_of,
)
from tests.fakes.s3_faults import Cut, Delay, Meanwhile, Say, SlowDown
from tests.fakes.s3_front import Front

running_s3 = s3.running_s3
numbers = itertools.count(1)
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def demo() -> DemoSeries:
    """A series of four images that no other test has."""
    return series_of(next(numbers))


def sink_for(series: Series, folder: Path) -> Staging:
    folder.mkdir(exist_ok=True)
    return Staging(series, folder, Disk(durable=False), lambda count: None)


def received(archive: IdcArchive, series: Series, folder: Path) -> Staging:
    sink = sink_for(series, folder)
    archive.receive_series(series, sink)
    return sink


def md5s(demo: DemoSeries) -> dict[str, str]:
    return {image.uid: (image.md5 or "").zfill(32) for image in demo.images}


def md5s_of(sink: Staging) -> dict[str, str]:
    return {image.uid: image.md5 for image in sink.images.values()}


def key_of(demo: DemoSeries, place: int = 0) -> str:
    return object_key(demo.uid, demo.images[place].uid)


def test_a_series_arrives_whole_and_proved_by_its_etags(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    with idc_of(s3_server.url, series) as archive:
        sink = received(archive, series, tmp_path)
    assert md5s_of(sink) == sink.stored_md5 == md5s(demo)
    assert {image.source for image in sink.images.values()} == {"idc"}
    assert sink.unproven() == sink.wrong() == []


def test_a_series_lies_in_the_bucket_that_the_catalogue_names(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo, RESTRICTED_BUCKET)
    with idc_of(s3_server.url, series) as archive:
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)


def test_images_uploaded_in_parts_arrive_without_a_hash(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    parted = demo.images[1].uid
    series = s3_server.hold(demo, in_parts=[parted])
    with idc_of(s3_server.url, series) as archive:
        sink = received(archive, series, tmp_path)
    assert md5s_of(sink) == md5s(demo)
    assert sink.unproven() == [parted]


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
        with pytest.raises(NotAvailableError, match="it is not there"):
            archive.receive_image(series, RemoteImage(key=key_of(demo, 1)), sink)


def test_an_image_that_changes_after_it_was_listed_is_had_by_listing_again(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    newer = demo.images[0].read()[:-2] + b"\1\1"
    series = s3_server.hold(demo)
    change = Meanwhile(".dcm", act=lambda: s3_server.put(BUCKET, key_of(demo), newer))
    with Front(s3_server.port, change) as front, idc_of(front.url, series) as archive:
        sink = sink_for(series, tmp_path)
        with pytest.raises(BadAnswerError) as caught:
            archive.receive_series(series, sink)
        assert caught.value.retryable
        archive.receive_series(series, sink)
    assert len(sink.images) == 4
    assert (tmp_path / f"{demo.images[0].uid}.dcm").read_bytes() == newer


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
        with pytest.raises(BadAnswerError, match="HTTP 204"):
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
    stop = Stop()
    client = Client(QUICK, stop=stop)
    with Front(s3_server.port, Delay(".dcm", seconds=0.3)) as front:
        archive = IdcArchive(client, front.url, find=lambda uids: {}, list_all=lambda name: [])
        threading.Timer(0.2, stop.set).start()
        started = time.monotonic()
        with pytest.raises(InterruptedRunError):
            received(archive, series, tmp_path)
        assert time.monotonic() - started < 1
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


def test_a_series_from_another_list_is_found_in_the_catalogue(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    elsewhere = replace(series, bucket=None, crdc_uuid=None)
    with idc_of(s3_server.url, series) as archive:
        assert archive.holds(elsewhere)
        assert md5s_of(received(archive, elsewhere, tmp_path)) == md5s(demo)


@pytest.mark.parametrize(
    "place",
    [
        {"bucket": None, "crdc_uuid": None},
        {"bucket": "", "crdc_uuid": ""},
        {"bucket": "evil.example/", "crdc_uuid": "folder"},
        {"bucket": BUCKET, "crdc_uuid": "../other"},
    ],
)
def test_a_series_without_a_proper_place_is_not_available(
    demo: DemoSeries, tmp_path: Path, place: dict[str, str | None]
) -> None:
    series = replace(catalogued(demo), **place)  # type: ignore[arg-type]
    with idc_of(DEAD) as archive:
        assert not archive.holds(series)
        for ask in (archive.images, lambda series: received(archive, series, tmp_path)):
            with pytest.raises(NotAvailableError, match="knows no place"):
                ask(series)


def test_an_empty_folder_is_not_available(s3_server: S3Server, demo: DemoSeries) -> None:
    s3_server.make_bucket(BUCKET)
    series = catalogued(demo)
    with (
        idc_of(s3_server.url, series) as archive,
        pytest.raises(NotAvailableError, match="no image of series"),
    ):
        archive.images(series)


def test_a_wrong_bucket_is_not_available(s3_server: S3Server, demo: DemoSeries) -> None:
    series = catalogued(demo, "no-such-bucket")
    with (
        idc_of(s3_server.url, series) as archive,
        pytest.raises(NotAvailableError, match="it is not there"),
    ):
        archive.images(series)


def test_a_closed_bucket_is_not_available(s3_server: S3Server, demo: DemoSeries) -> None:
    series = catalogued(demo)
    denied = Say(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    with (
        Front(s3_server.port, denied) as front,
        idc_of(front.url, series) as archive,
        pytest.raises(NotAvailableError, match="access is denied"),
    ):
        archive.images(series)


def test_lists_come_from_the_catalogue_without_a_network() -> None:
    one, two = catalogued(series_of(901)), catalogued(series_of(902))
    with idc_of(DEAD, two, one) as archive:
        assert archive.list_collection("SYNTHETIC") == [two, one]
        assert archive.list_series([two.uid, "9.9.9", one.uid]) == [one, two]
        with pytest.raises(NotAvailableError, match="OTHER"):
            archive.list_collection("OTHER")


def test_a_collection_that_the_catalogue_refuses_is_not_available() -> None:
    def refuse(collection: str) -> list[Series]:
        raise UnknownCollectionError(collection)

    client = Client(QUICK)
    archive = IdcArchive(client, find=lambda uids: {}, list_all=refuse)
    with pytest.raises(NotAvailableError):
        archive.list_collection("OTHER")
    client.close()


def test_there_are_no_hashes_but_those_of_the_list(demo: DemoSeries) -> None:
    series = catalogued(demo)
    with idc_of(DEAD, series) as archive:
        assert archive.series_md5(series) is None
        assert archive.image_md5(series, demo.images[0].uid) is None


def test_a_dead_host_gives_way_to_the_next_and_is_left_alone(
    s3_server: S3Server, demo: DemoSeries, tmp_path: Path
) -> None:
    series = s3_server.hold(demo)
    with (
        Front(s3_server.port, Say(times=None, status=500)) as broken,
        idc_of(f"{DEAD},{broken.url},{s3_server.url}", series) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        asked = len(broken.seen)
        archive.images(series)
        assert len(broken.seen) == asked == 1 + QUICK.retries


def test_a_host_that_dies_in_the_middle_gives_way_to_the_next(
    s3_server: S3Server, tmp_path: Path
) -> None:
    demo = series_of(next(numbers), images=12)
    series = s3_server.hold(demo)
    with (
        Front(s3_server.port, Say(".dcm", skip=5, times=None, status=502)) as dying,
        Front(s3_server.port) as other,
        idc_of(f"{dying.url},{other.url}", series) as archive,
    ):
        assert md5s_of(received(archive, series, tmp_path)) == md5s(demo)
        assert len(other.objects()) == 12 - 5


def test_hosts_that_are_all_dead_are_told(demo: DemoSeries) -> None:
    series = catalogued(demo)
    with idc_of(f"{DEAD},{DEAD}/2", series) as archive, pytest.raises(UnreachableError):
        archive.images(series)


def test_a_host_that_fails_is_told_with_its_status(s3_server: S3Server, demo: DemoSeries) -> None:
    series = catalogued(demo)
    with (
        Front(s3_server.port, SlowDown(times=None)) as front,
        idc_of(front.url, series) as archive,
        pytest.raises(StatusError, match="SlowDown"),
    ):
        archive.images(series)


def test_an_unusable_endpoint_is_refused_at_once() -> None:
    client = Client(QUICK)
    with pytest.raises(UsageError):
        IdcArchive(client, "s3://idc-open-data", find=lambda uids: {}, list_all=lambda name: [])


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
