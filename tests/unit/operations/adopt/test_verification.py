"""Verify files by the hashes of one archive after another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from tcia_covid.archives.base import Sink
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    InterruptedRunError,
    NotAvailableError,
    UnreachableError,
)
from tcia_covid.core.events import Event
from tcia_covid.core.models import Check, RemoteImage, Series, StoredImage, series_md5
from tcia_covid.operations.adopt_series import HashSources, Verification, verify_files
from tcia_covid.store.placement import FoundFile
from tests.unit.trees import md5_of, series_of

SERIES = replace(series_of(1), image_count=3, size=30)
MD5 = {f"1.{n}": md5_of(f"{n}".encode()) for n in range(1, 6)}


@dataclass
class HashArchive:
    """An archive that has only hashes."""

    name: str = "nbia"
    whole: str | None = None
    """The hash of the series."""
    each: dict[str, str] = field(default_factory=dict)
    """Hashes by UID."""
    remote: list[RemoteImage] = field(default_factory=list)
    error: ArchiveError | None = None
    is_listed: bool = True
    asked: list[str] = field(default_factory=list)
    skips_known = False
    connections_per_job = 1
    of_record = True

    def has(self, series: Series) -> bool:
        return self.is_listed

    def series_md5(self, series: Series) -> str | None:
        return self._answer("whole", self.whole)

    def images(self, series: Series) -> list[RemoteImage]:
        self._answer("images", None)
        return self.remote

    def image_md5(self, series: Series, uid: str) -> str | None:
        return self._answer(uid, self.each.get(uid))

    def _answer(self, what: str, answer: str | None) -> str | None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error
        return answer

    def list_collection(self, collection: str) -> list[Series]:
        raise AssertionError

    def list_series(self, uids: Iterable[str]) -> list[Series]:
        raise AssertionError

    def receive_series(self, series: Series, sink: Sink) -> None:
        raise AssertionError

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        raise AssertionError


def nbia(*uids: str, **facts: object) -> HashArchive:
    """NBIA with hashes of these images."""
    known = {"each": {uid: MD5[uid] for uid in uids}, "remote": [RemoteImage(uid) for uid in uids]}
    return HashArchive(**{**known, **facts})  # type: ignore[arg-type]


def idc(*uids: str, **facts: object) -> HashArchive:
    """IDC with an ETag for each of these images."""
    remote = [RemoteImage(key=f"k{uid}", md5=MD5[uid]) for uid in uids]
    return HashArchive(**{"name": "idc", "remote": remote, **facts})  # type: ignore[arg-type]


def file(uid: str, md5: str = "", name: str = "") -> FoundFile:
    return FoundFile("", name or uid, uid, 10, 0, md5 or MD5[uid])


def verify(files: list[FoundFile], *archives: HashArchive, series: Series = SERIES) -> Verification:
    return verify_files(series, files, HashSources(archives, lambda event: None, CancelToken()))


def files_of(*uids: str) -> list[FoundFile]:
    return [file(uid) for uid in uids]


def test_the_series_hash_verifies_all_images() -> None:
    archive = nbia("1.1", "1.2", "1.3", whole=series_md5(list(MD5.values())[:3]))
    result = verify(files_of("1.1", "1.2", "1.3"), archive)
    assert {check for _, check in result.verified.values()} == {Check.SERIES_MD5}
    assert result.complete
    assert archive.asked == ["whole"]


def test_the_series_hash_is_not_requested_if_count_or_bytes_differ() -> None:
    for files in (files_of("1.1", "1.2"), [*files_of("1.1", "1.2"), file("1.3")._replace(size=9)]):
        archive = nbia("1.1", "1.2", "1.3", whole="0" * 32)
        verify(files, archive)
        assert "whole" not in archive.asked


def test_if_the_series_hash_differs_each_image_is_compared() -> None:
    result = verify(files_of("1.1", "1.2", "1.3"), nbia("1.1", "1.2", "1.3", whole="0" * 32))
    assert {check for _, check in result.verified.values()} == {Check.MD5}
    assert result.complete


def test_a_series_of_unknown_size_is_complete_if_every_listed_image_is_verified() -> None:
    unknown = replace(SERIES, image_count=None, size=None)
    assert verify(files_of("1.1", "1.2"), nbia("1.1", "1.2"), series=unknown).complete
    assert not verify(files_of("1.1"), nbia("1.1", "1.2"), series=unknown).complete
    assert not verify(files_of("1.1"), HashArchive(), series=unknown).complete


def test_an_archive_without_the_series_gets_no_request() -> None:
    absent = idc("1.1", is_listed=False)
    verify(files_of("1.1"), absent, nbia("1.1"))
    assert absent.asked == []


def test_a_second_archive_verifies_what_differs_at_the_first() -> None:
    files = [file("1.1"), file("1.2", md5_of(b"newer"))]
    newer = nbia("1.1", "1.2", each={"1.2": md5_of(b"newer")})
    result = verify(files, idc("1.1", "1.2", "1.3"), newer)
    assert set(result.verified) == {"1.1", "1.2"}
    assert newer.asked == ["images", "1.2"]


def test_a_file_that_differs_at_every_archive_is_changed() -> None:
    result = verify([file("1.1", md5_of(b"other"))], idc("1.1"), nbia("1.1"))
    assert ([file.uid for file in result.changed], result.verified) == (["1.1"], {})


def test_an_object_without_md5_may_be_any_image() -> None:
    archive = idc("1.1")
    archive.remote.append(RemoteImage(key="k"))
    result = verify(files_of("1.1", "1.2"), archive)
    assert [file.uid for file in result.unverified] == ["1.2"]
    assert result.responded


def test_after_three_blank_hashes_no_more_are_requested() -> None:
    archive = nbia(*MD5, each=dict.fromkeys(MD5, " "))
    result = verify(files_of(*MD5), archive)
    assert len(archive.asked) == 1 + 3
    assert len(result.unverified) == 5


def test_an_image_that_is_not_listed_is_not_in_series() -> None:
    result = verify(files_of("1.1", "1.4"), nbia("1.1", "1.2", "1.3"))
    assert [file.uid for file in result.not_in_series] == ["1.4"]


def test_duplicates_are_listed_with_the_file_that_is_used() -> None:
    wrong = file("1.1", md5_of(b"other"), name="wrong")
    again = file("1.1", name="again")
    result = verify([wrong, file("1.1"), again], nbia("1.1"))
    assert [(each.file, each.duplicate_of) for each in result.duplicates] == [
        ("wrong", "1.1"),
        ("again", "1.1"),
    ]


def test_an_unreachable_archive_verifies_nothing_and_gets_one_request() -> None:
    events: list[Event] = []
    unreachable = nbia("1.1", error=UnreachableError("no route"))
    hash_sources = HashSources([unreachable], events.append, CancelToken())
    for _ in range(4):
        result = verify_files(SERIES, files_of("1.1"), hash_sources)
        assert (result.responded, len(result.unverified)) == (False, 1)
    assert len(unreachable.asked) == 1
    assert len(events) == 1


def test_not_available_is_a_response() -> None:
    unreachable = nbia("1.1", error=NotAvailableError("not public"))
    hash_sources = HashSources([unreachable], lambda event: None, CancelToken())
    for _ in range(4):
        assert verify_files(SERIES, files_of("1.1"), hash_sources).responded
    assert len(unreachable.asked) == 4


def test_a_canceled_run_sends_no_further_request() -> None:
    stop = CancelToken()
    stop.set()
    hash_sources = HashSources(
        [nbia("1.1", error=UnreachableError("gone"))], lambda event: None, stop
    )
    with pytest.raises(InterruptedRunError):
        verify_files(SERIES, files_of("1.1"), hash_sources)
