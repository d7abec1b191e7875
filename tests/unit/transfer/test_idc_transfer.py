"""A series from IDC, where only a file's header has the UID of an image."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ChecksumError,
    ConnectionLostError,
    IncompleteSeriesError,
    ResponseTimeoutError,
    StatusError,
)
from tcia_covid.core.events import Emit, Event, Notice, discard
from tcia_covid.core.models import Check, Outcome, Series, State
from tcia_covid.store.disk import Disk
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.scheduler import failure_of
from tcia_covid.transfer.series import fetch_series
from tests.fakes import s3
from tests.fakes.corpus import DemoSeries
from tests.fakes.s3 import BUCKET, QUICK, S3Server, folder_of, idc_of, object_key, series_of
from tests.fakes.s3_faults import Cut, Delay, Fault, Meanwhile, Rewrite, Say, Stall, Unconditional
from tests.fakes.s3_proxy import S3Proxy
from tests.unit.archive_helpers import expected_files, files_of
from tests.waiting import LONG, wait_for

running_s3 = s3.running_s3
_RUN = """
import sys
from pathlib import Path
from tcia_covid.store.tree import Tree
from tests.fakes.s3 import cataloged, series_of
from tests.unit.transfer.test_idc_transfer import fetched
url, root, number = sys.argv[1:]
fetched(url, cataloged(series_of(int(number), images=1, rows=1100)), Tree(Path(root)))
"""
numbers = itertools.count(2001)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path, disk=Disk(durable=False))
    tree.prepare()
    return tree


@pytest.fixture
def demo() -> DemoSeries:
    """A series of six images that no other test has."""
    return series_of(next(numbers), images=6)


def fetched(url: str, series: Series, tree: Tree, emit: Emit = discard) -> Outcome:
    """Fetch a series as a new run would."""
    again = Tree(tree.root, disk=tree.disk)
    with idc_of(url, series) as archive:
        return fetch_series(series, [archive], again, TransferContext(CancelToken(), QUICK, emit))


def key_of(demo: DemoSeries, place: int) -> str:
    return object_key(demo.uid, demo.images[place].uid)


def damaged(content: bytes) -> bytes:
    return content[:-2] + b"\1\1"


def test_each_image_of_a_series_is_checked_by_its_md5(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    outcome = fetched(s3_server.url, s3_server.hold(demo), tree)
    assert outcome.state is State.COMPLETE
    assert outcome.receipt is not None
    assert {(image.check, image.source) for image in outcome.receipt.images} == {(Check.MD5, "idc")}
    assert files_of(tree.root) == expected_files(demo)


def test_a_complete_series_is_not_requested_again(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    fetched(s3_server.url, series, tree)
    with S3Proxy(s3_server.port) as proxy:
        assert fetched(proxy.url, series, tree).state is State.ALREADY
        assert proxy.seen == []


def hold_in_unusual_parts(s3_server: S3Server, demo: DemoSeries) -> Series:
    """The second image is uploaded in two parts of a length that no program would choose."""
    series = s3_server.hold(demo)
    image = demo.images[1]
    s3_server.put_in_parts(BUCKET, key_of(demo, 1), image.read(), step=image.size - 3)
    return series


def test_an_image_in_parts_of_unusual_size_counts_if_it_arrives_twice_the_same(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = hold_in_unusual_parts(s3_server, demo)
    with S3Proxy(s3_server.port) as proxy:
        outcome = fetched(proxy.url, series, tree)
        assert len(proxy.objects()) == 6 + 1
    assert outcome.receipt is not None
    weak = [image.uid for image in outcome.receipt.images if image.check is Check.SIZE]
    assert weak == [demo.images[1].uid]
    assert files_of(tree.root) == expected_files(demo)


@pytest.mark.parametrize("unusual", [False, True])
def test_an_image_in_parts_that_is_damaged_in_transit_is_fetched_again(
    s3_server: S3Server, demo: DemoSeries, tree: Tree, *, unusual: bool
) -> None:
    if unusual:
        series = hold_in_unusual_parts(s3_server, demo)
    else:
        series = s3_server.hold(demo, in_parts=[demo.images[1].uid])
    with S3Proxy(s3_server.port, Rewrite(key_of(demo, 1), change=damaged)) as proxy:
        outcome = fetched(proxy.url, series, tree)
        assert len(proxy.objects()) == 6 + (2 if unusual else 1)
    assert outcome.receipt is not None
    assert outcome.receipt.check is (Check.SIZE if unusual else Check.MD5)
    assert files_of(tree.root) == expected_files(demo)


def test_an_image_in_parts_that_is_damaged_differently_each_time_fails_the_series(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo, in_parts=[demo.images[1].uid])
    damages = itertools.count(1)
    always = Rewrite(
        key_of(demo, 1), times=None, change=lambda body: body[:-1] + bytes([next(damages)])
    )
    with S3Proxy(s3_server.port, always) as proxy, pytest.raises(ChecksumError) as caught:
        fetched(proxy.url, series, tree)
    assert caught.value.missing == (demo.images[1].uid,)
    assert files_of(tree.root) == {}


def test_a_cut_costs_at_most_what_was_left_of_one_image(s3_server: S3Server, tree: Tree) -> None:
    demo = series_of(next(numbers), images=5, rows=300)
    series = s3_server.hold(demo)
    size = demo.images[0].size
    with S3Proxy(s3_server.port, Cut(".dcm", skip=3, after_bytes=size // 2)) as proxy:
        fetched(proxy.url, series, tree)
        assert proxy.sent <= demo.size + size // 2
    assert files_of(tree.root) == expected_files(demo)


def test_a_missing_object_leaves_the_series_incomplete_and_keeps_the_rest(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    gone = Say(key_of(demo, 2), times=None, status=404)
    with (
        S3Proxy(s3_server.port, gone) as proxy,
        pytest.raises(IncompleteSeriesError, match="does not give 1 of its images"),
    ):
        fetched(proxy.url, series, tree)
    assert files_of(tree.root) == {}
    staged = {path.name.removesuffix(".dcm.staged") for path in tree.staging.rglob("*.staged")}
    assert staged == {image.uid for image in demo.images} - {demo.images[2].uid}


def test_an_object_deleted_after_it_was_listed_leaves_the_series_incomplete(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    deleting = Meanwhile(".dcm", act=lambda: s3_server.delete(BUCKET, key_of(demo, 2)))
    with (
        S3Proxy(s3_server.port, deleting) as proxy,
        pytest.raises(IncompleteSeriesError, match=r"it does not exist|the archive has only 5"),
    ):
        fetched(proxy.url, series, tree)


def test_an_object_that_changes_after_it_was_listed_is_downloaded_in_its_new_version(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    newer = damaged(demo.images[0].read())
    changing = Meanwhile(".dcm", act=lambda: s3_server.put(BUCKET, key_of(demo, 0), newer))
    with S3Proxy(s3_server.port, changing) as proxy:
        outcome = fetched(proxy.url, series, tree)
    assert outcome.receipt is not None
    assert outcome.receipt.check is Check.MD5
    (file,) = tree.root.rglob(f"{demo.images[0].uid}.dcm")
    assert file.read_bytes() == newer


def test_an_image_damaged_in_transit_is_fetched_again(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    with S3Proxy(s3_server.port, Rewrite(key_of(demo, 4), change=damaged)) as proxy:
        fetched(proxy.url, series, tree)
        assert len(proxy.objects()) == 7
    assert files_of(tree.root) == expected_files(demo)


def test_an_image_that_stays_damaged_fails_the_series(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    always: Fault = Rewrite(key_of(demo, 4), times=None, change=damaged)
    with S3Proxy(s3_server.port, always) as proxy, pytest.raises(ChecksumError) as caught:
        fetched(proxy.url, series, tree)
    assert caught.value.missing == (demo.images[4].uid,)
    assert files_of(tree.root) == {}


def test_images_of_an_earlier_run_are_checked_by_the_listing_and_not_fetched_again(
    s3_server: S3Server, tree: Tree
) -> None:
    demo = series_of(next(numbers), images=20)
    series = s3_server.hold(demo)
    with (
        S3Proxy(s3_server.port, Say(".dcm", skip=10, times=None, status=403)) as proxy,
        pytest.raises(IncompleteSeriesError, match="does not give 10 of its images"),
    ):
        fetched(proxy.url, series, tree)
    staged = len(list(tree.staging.rglob("*.dcm.staged")))
    assert staged >= 10
    with S3Proxy(s3_server.port) as proxy:
        outcome = fetched(proxy.url, series, tree)
        assert len(proxy.objects()) == 20 - staged
    assert outcome.receipt is not None
    assert outcome.receipt.check is Check.MD5
    assert files_of(tree.root) == expected_files(demo)


def test_a_run_killed_before_its_commit_costs_one_list(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    leave(tree, demo)
    with S3Proxy(s3_server.port) as proxy:
        outcome = fetched(proxy.url, series, tree)
        assert (len(proxy.lists()), len(proxy.objects())) == (1, 0)
    assert outcome.receipt is not None
    assert outcome.receipt.check is Check.MD5


def test_of_an_earlier_run_images_uploaded_in_parts_are_recognized(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo, in_parts=[image.uid for image in demo.images])
    leave(tree, demo)
    with S3Proxy(s3_server.port) as proxy:
        outcome = fetched(proxy.url, series, tree)
        assert proxy.objects() == []
    assert outcome.receipt is not None
    assert outcome.receipt.check is Check.MD5


def test_of_an_earlier_run_only_images_without_a_hash_are_fetched_again(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = hold_in_unusual_parts(s3_server, demo)
    leave(tree, demo)
    with S3Proxy(s3_server.port) as proxy:
        outcome = fetched(proxy.url, series, tree)
        assert {seen.path for seen in proxy.objects()} == {f"/{BUCKET}/{key_of(demo, 1)}"}
    assert outcome.receipt is not None
    assert [image.source for image in outcome.receipt.images].count("idc") == 1


def test_an_image_without_a_hash_that_arrives_again_unchanged_is_accepted(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = hold_in_unusual_parts(s3_server, demo)
    leave(tree, replace(demo, images=demo.images[:3]))
    with S3Proxy(s3_server.port) as proxy:
        fetched(proxy.url, series, tree)
        assert len(proxy.objects()) == 3 + 2
    assert files_of(tree.root) == expected_files(demo)


def test_a_staged_image_of_another_version_is_discarded(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    longer = series_of(int(demo.uid.rpartition(".")[2]), images=7)
    series = s3_server.hold(demo)
    leave(tree, replace(longer, images=longer.images[6:]))
    fetched(s3_server.url, series, tree)
    assert files_of(tree.root) == expected_files(demo)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_fault_39_an_object_that_no_endpoint_provides_is_named_for_every_status(
    s3_server: S3Server, demo: DemoSeries, tree: Tree, status: int
) -> None:
    series = s3_server.hold(demo)
    gone = Say(key_of(demo, 2), times=None, status=status)
    with (
        S3Proxy(s3_server.port, gone) as proxy,
        pytest.raises((IncompleteSeriesError, StatusError)) as caught,
    ):
        fetched(proxy.url, series, tree)
    failure = failure_of(series, caught.value)
    assert failure.missing == (key_of(demo, 2),)
    assert failure.reason == "incomplete"


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_fault_40_a_silent_object_costs_one_budget_of_retries_in_all(
    s3_server: S3Server, demo: DemoSeries, tree: Tree, retries: int, hosts: int
) -> None:
    series = s3_server.hold(demo)
    settings = replace(QUICK, retries=retries, first_byte_timeout=0.4)
    silent = Delay(key_of(demo, 2), seconds=0.8)
    context = TransferContext(CancelToken(), settings, discard)
    with (
        S3Proxy(s3_server.port, silent) as proxy,
        idc_of(",".join([proxy.url] * hosts), series, settings=settings) as archive,
        pytest.raises(ResponseTimeoutError) as caught,
    ):
        fetch_series(series, [archive], tree, context)
    assert caught.value.missing == (key_of(demo, 2),)
    requests = sum(key_of(demo, 2) in seen.path for seen in proxy.seen)
    assert max(1, hosts) <= requests <= max(hosts, 1 + retries)
    assert len(list(tree.staging.rglob("*.staged"))) == 5


def lose(tree: Tree, demo: DemoSeries, place: int) -> None:
    """Delete an image of a complete series."""
    (file,) = tree.root.rglob(f"{demo.images[place].uid}.dcm")
    file.unlink()


def test_a_missing_image_is_named_by_the_uid_in_the_receipt(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    fetched(s3_server.url, series, tree)
    lose(tree, demo, 2)
    gone = Say(key_of(demo, 2), times=None, status=404)
    with S3Proxy(s3_server.port, gone) as proxy, pytest.raises(IncompleteSeriesError) as caught:
        fetched(proxy.url, series, tree)
    assert caught.value.missing == (demo.images[2].uid,)


def test_an_image_that_is_not_listed_is_ignored_and_noted(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    fetched(s3_server.url, series, tree)
    lose(tree, demo, 2)
    extra = series_of(int(demo.uid.rpartition(".")[2]), images=7).images[6]
    s3_server.put(BUCKET, object_key(demo.uid, extra.uid), extra.read())
    events: list[Event] = []
    assert fetched(s3_server.url, series, tree, events.append).state is State.COMPLETE
    assert files_of(tree.root) == expected_files(demo)
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert f"{extra.uid} is ignored" in notice


def test_an_object_that_is_no_image_of_the_series_is_ignored_and_noted(
    s3_server: S3Server, demo: DemoSeries, tree: Tree
) -> None:
    series = s3_server.hold(demo)
    # The last key, so that all others arrive first.
    s3_server.put(BUCKET, f"{folder_of(demo.uid)}/~.txt", b"notes " * 50)
    events: list[Event] = []
    assert fetched(s3_server.url, series, tree, events.append).state is State.COMPLETE
    assert files_of(tree.root) == expected_files(demo)
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert "no image of its series, which is ignored" in notice


def large() -> DemoSeries:
    """A series of one image that is large enough to be resumed."""
    return series_of(next(numbers), images=1, rows=1100)


def partial_file(tree: Tree) -> Path | None:
    return next((path for path in tree.staging.rglob("*.partial") if path.stat().st_size), None)


def test_a_large_object_resumes_in_the_next_run_where_it_stopped(
    s3_server: S3Server, tree: Tree
) -> None:
    demo = large()
    series = s3_server.hold(demo)
    cuts = [Cut(".dcm", after_bytes=1_200_000), Cut(".dcm", skip=1, times=None)]
    with S3Proxy(s3_server.port, *cuts) as proxy, pytest.raises(ConnectionLostError):
        fetched(proxy.url, series, tree)
    left = partial_file(tree)
    assert left is not None
    start = left.stat().st_size
    assert 0 < start <= 1_200_000
    with S3Proxy(s3_server.port) as proxy:
        outcome = fetched(proxy.url, series, tree)
        (seen,) = proxy.objects()
    assert seen.headers["Range"] == f"bytes={start}-"
    assert seen.headers["If-Match"] == f'"{demo.images[0].md5}"'
    assert outcome.receipt is not None
    assert outcome.receipt.check is Check.MD5
    assert files_of(tree.root) == expected_files(demo)
    assert partial_file(tree) is None


def test_fault_21_a_large_object_resumes_after_a_kill(s3_server: S3Server, tree: Tree) -> None:
    demo = large()
    series = s3_server.hold(demo)
    number = int(demo.uid.rpartition(".")[2])
    with S3Proxy(s3_server.port, Stall(".dcm", after_bytes=2_000_000, seconds=LONG)) as proxy:
        run = subprocess.Popen([sys.executable, "-c", _RUN, proxy.url, str(tree.root), str(number)])
        wait_for(lambda: partial_file(tree), run)
        run.kill()
        run.wait()
    with S3Proxy(s3_server.port) as proxy:
        fetched(proxy.url, series, tree)
        (seen,) = proxy.objects()
        assert proxy.sent < demo.size
    assert seen.headers["Range"].startswith("bytes=")
    assert files_of(tree.root) == expected_files(demo)


def test_an_object_that_was_received_to_its_end_is_not_requested_again(
    s3_server: S3Server, tree: Tree
) -> None:
    demo = large()
    series = s3_server.hold(demo)
    interrupt(s3_server, series, tree)
    left = partial_file(tree)
    assert left is not None
    left.write_bytes(demo.images[0].read())
    with S3Proxy(s3_server.port) as proxy:
        fetched(proxy.url, series, tree)
        assert proxy.objects() == []
    assert files_of(tree.root) == expected_files(demo)


def test_the_start_of_an_object_that_changed_since_is_not_used(
    s3_server: S3Server, tree: Tree
) -> None:
    demo = large()
    series = s3_server.hold(demo)
    interrupt(s3_server, series, tree)
    newer = damaged(demo.images[0].read())
    s3_server.put(BUCKET, key_of(demo, 0), newer)
    with S3Proxy(s3_server.port) as proxy:
        fetched(proxy.url, series, tree)
        (seen,) = proxy.objects()
    assert "Range" not in seen.headers
    (file,) = tree.root.rglob(f"{demo.images[0].uid}.dcm")
    assert file.read_bytes() == newer


@pytest.mark.parametrize("harm", [b"", b"\0" * 5000, b"x" * 3_000_000])
def test_a_damaged_start_of_an_object_costs_one_more_download(
    s3_server: S3Server, tree: Tree, harm: bytes
) -> None:
    demo = large()
    series = s3_server.hold(demo)
    interrupt(s3_server, series, tree)
    left = partial_file(tree)
    assert left is not None
    left.write_bytes(harm)
    outcome = fetched(s3_server.url, series, tree)
    assert outcome.receipt is not None
    assert outcome.receipt.check is Check.MD5
    assert files_of(tree.root) == expected_files(demo)


def test_a_server_that_cannot_resume_sends_an_object_from_its_start(
    s3_server: S3Server, tree: Tree
) -> None:
    demo = large()
    series = s3_server.hold(demo)
    interrupt(s3_server, series, tree)
    with S3Proxy(s3_server.port, Unconditional(".dcm", times=None)) as proxy:
        fetched(proxy.url, series, tree)
        assert len(proxy.objects()) == 2
    assert files_of(tree.root) == expected_files(demo)


def interrupt(s3_server: S3Server, series: Series, tree: Tree) -> None:
    """Leave the start of an object in staging."""
    cuts = [Cut(".dcm", after_bytes=1_200_000), Cut(".dcm", skip=1, times=None)]
    with S3Proxy(s3_server.port, *cuts) as proxy, pytest.raises(ConnectionLostError):
        fetched(proxy.url, series, tree)


def leave(tree: Tree, demo: DemoSeries) -> None:
    """Leave images in staging, as a run does that is killed."""
    folder = tree.staging / demo.uid / "killed-run"
    folder.mkdir(parents=True)
    for image in demo.images:
        (folder / f"{image.uid}.dcm").write_bytes(image.read())
