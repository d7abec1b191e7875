"""Judging files by hashes: what one archive leaves open, the next one settles."""

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
from tcia_covid.core.models import Check, RemoteImage, Series, StoredImage
from tcia_covid.operations.adopt.scan import FoundFile
from tcia_covid.operations.adopt.verification import HashSources, Verification, verify_files
from tcia_covid.transfer.verification import series_md5
from tests.unit.trees import md5_of, series_of

SERIES = replace(series_of(1), image_count=3, size=30)
MD5 = {f"1.{n}": md5_of(f"{n}".encode()) for n in range(1, 6)}


@dataclass
class Archive:
    """An archive that knows hashes and gives no images."""

    name: str = "nbia"
    whole: str | None = None
    """The hash of the series."""
    each: dict[str, str] = field(default_factory=dict)
    """Hashes by UID."""
    remote: list[RemoteImage] = field(default_factory=list)
    error: ArchiveError | None = None
    has: bool = True
    asked: list[str] = field(default_factory=list)
    skips_known = False
    of_record = True

    def holds(self, series: Series) -> bool:
        return self.has

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


def nbia(*uids: str, **facts: object) -> Archive:
    """NBIA with these images, hashed."""
    known = {"each": {uid: MD5[uid] for uid in uids}, "remote": [RemoteImage(uid) for uid in uids]}
    return Archive(**{**known, **facts})  # type: ignore[arg-type]


def idc(*uids: str, **facts: object) -> Archive:
    """IDC with these images as objects with an ETag."""
    remote = [RemoteImage(key=f"k{uid}", md5=MD5[uid]) for uid in uids]
    return Archive(**{"name": "idc", "remote": remote, **facts})  # type: ignore[arg-type]


def found(uid: str, md5: str = "", name: str = "") -> FoundFile:
    return FoundFile("", name or uid, uid, 10, 0, md5 or MD5[uid])


def verdict(files: list[FoundFile], *archives: Archive, series: Series = SERIES) -> Verification:
    return verify_files(series, files, HashSources(archives, lambda event: None, CancelToken()))


def all_of(*uids: str) -> list[FoundFile]:
    return [found(uid) for uid in uids]


def test_the_hash_of_the_series_settles_all() -> None:
    archive = nbia("1.1", "1.2", "1.3", whole=series_md5(list(MD5.values())[:3]))
    said = verdict(all_of("1.1", "1.2", "1.3"), archive)
    assert {check for _, check in said.verified.values()} == {Check.SERIES_MD5}
    assert said.complete
    assert archive.asked == ["whole"]


def test_it_is_not_asked_for_where_count_or_bytes_cannot_fit() -> None:
    for files in (all_of("1.1", "1.2"), [*all_of("1.1", "1.2"), found("1.3")._replace(size=9)]):
        archive = nbia("1.1", "1.2", "1.3", whole="0" * 32)
        verdict(files, archive)
        assert "whole" not in archive.asked


def test_where_it_does_not_fit_each_image_is_compared() -> None:
    said = verdict(all_of("1.1", "1.2", "1.3"), nbia("1.1", "1.2", "1.3", whole="0" * 32))
    assert {check for _, check in said.verified.values()} == {Check.MD5}
    assert said.complete


def test_a_series_of_unknown_size_is_whole_if_all_that_is_named_is_right() -> None:
    unknown = replace(SERIES, image_count=None, size=None)
    assert verdict(all_of("1.1", "1.2"), nbia("1.1", "1.2"), series=unknown).complete
    assert not verdict(all_of("1.1"), nbia("1.1", "1.2"), series=unknown).complete
    assert not verdict(all_of("1.1"), Archive(), series=unknown).complete


def test_an_archive_that_does_not_have_the_series_is_not_asked() -> None:
    absent = idc("1.1", has=False)
    verdict(all_of("1.1"), absent, nbia("1.1"))
    assert absent.asked == []


def test_what_one_archive_denies_another_may_prove() -> None:
    files = [found("1.1"), found("1.2", md5_of(b"newer"))]
    newer = nbia("1.1", "1.2", each={"1.2": md5_of(b"newer")})
    said = verdict(files, idc("1.1", "1.2", "1.3"), newer)
    assert set(said.verified) == {"1.1", "1.2"}
    assert newer.asked == ["images", "1.2"]


def test_what_all_deny_is_changed() -> None:
    said = verdict([found("1.1", md5_of(b"other"))], idc("1.1"), nbia("1.1"))
    assert ([one.uid for one in said.changed], said.verified) == (["1.1"], {})


def test_an_object_without_an_md5_denies_nothing() -> None:
    archive = idc("1.1")
    archive.remote.append(RemoteImage(key="k"))
    said = verdict(all_of("1.1", "1.2"), archive)
    assert [one.uid for one in said.unverified] == ["1.2"]
    assert said.responded


def test_after_three_blank_hashes_no_more_are_asked_for() -> None:
    archive = nbia(*MD5, each=dict.fromkeys(MD5, " "))
    said = verdict(all_of(*MD5), archive)
    assert len(archive.asked) == 1 + 3
    assert len(said.unverified) == 5


def test_an_image_that_is_not_named_is_strange() -> None:
    said = verdict(all_of("1.1", "1.4"), nbia("1.1", "1.2", "1.3"))
    assert [one.uid for one in said.not_in_series] == ["1.4"]


def test_doubles_are_told_with_the_file_that_stands_for_them() -> None:
    wrong = found("1.1", md5_of(b"other"), name="wrong")
    again = found("1.1", name="again")
    said = verdict([wrong, found("1.1"), again], nbia("1.1"))
    assert [(one.name, of.name) for one, of in said.duplicates] == [
        ("wrong", "1.1"),
        ("again", "1.1"),
    ]


def test_a_silent_archive_leaves_files_unproven_and_is_given_up() -> None:
    events: list[Event] = []
    silent = nbia("1.1", error=UnreachableError("no route"))
    hash_sources = HashSources([silent], events.append, CancelToken())
    for _ in range(4):
        said = verify_files(SERIES, all_of("1.1"), hash_sources)
        assert (said.responded, len(said.unverified)) == (False, 1)
    assert len(silent.asked) == 1
    assert len(events) == 1


def test_not_having_the_series_is_an_answer() -> None:
    silent = nbia("1.1", error=NotAvailableError("not public"))
    hash_sources = HashSources([silent], lambda event: None, CancelToken())
    for _ in range(4):
        assert verify_files(SERIES, all_of("1.1"), hash_sources).responded
    assert len(silent.asked) == 4


def test_a_run_that_is_to_end_does_not_go_on_asking() -> None:
    stop = CancelToken()
    stop.set()
    hash_sources = HashSources(
        [nbia("1.1", error=UnreachableError("gone"))], lambda event: None, stop
    )
    with pytest.raises(InterruptedRunError):
        verify_files(SERIES, all_of("1.1"), hash_sources)
