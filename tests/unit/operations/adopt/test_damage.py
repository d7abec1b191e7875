"""Damaged files and duplicates are reported."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tcia_covid.operations.adopt_scan import Reason
from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.other_downloaders import tcia_utils
from tests.unit.operations.adopt.helpers import (
    adopt,
    any_file,
    expected,
    flip_last_bit,
    images_in,
    one_series,
    without_last_image,
)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _truncate_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _replace_by_web_page(path: Path) -> None:
    path.write_bytes(b"<html>503</html>" * 40)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_truncate, Reason.TRUNCATED),
        (flip_last_bit, Reason.CHANGED),
        (_truncate_header, Reason.UNREADABLE),
        (_empty, Reason.UNREADABLE),
        (_replace_by_web_page, Reason.UNREADABLE),
    ],
)
def test_a_damaged_file_is_reported_and_the_others_are_staged(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path, harm: object, reason: Reason
) -> None:
    tcia_utils(source, [one_series(corpus)])
    victim = any_file(source)
    harm(victim)  # type: ignore[operator]
    result = adopt(server, source, data)
    assert [(file.file, file.reason) for file in result.damaged] == [
        (victim.relative_to(source).as_posix(), reason)
    ]
    assert (result.exit_code, result.images.staged, images_in(data)) == (1, 3, {})


def test_an_image_that_the_archive_does_not_list_is_not_in_series(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(source, [series])
    corpus.put(without_last_image(series))
    result = adopt(server, source, data)
    assert [file.reason for file in result.damaged] == [Reason.NOT_IN_SERIES]
    assert (result.series.adopted, result.exit_code) == (1, 1)
    assert images_in(data) == expected(without_last_image(series))


def test_of_two_equal_files_one_is_adopted(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, [one_series(corpus)])
    shutil.copyfile(any_file(source), source / "copy")
    result = adopt(server, source, data)
    assert (result.exit_code, result.images.duplicate, result.images.adopted) == (0, 1, 4)
    assert [file.same_bytes for file in result.duplicates] == [True]


def test_of_two_versions_the_one_of_the_archive_is_adopted(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    series = one_series(corpus)
    tcia_utils(source, [series])
    wrong = any_file(source)
    shutil.copyfile(wrong, source / "zz-right")
    flip_last_bit(wrong)
    result = adopt(server, source, data)
    assert (result.exit_code, result.series.adopted, result.damaged) == (0, 1, [])
    assert [(file.file, file.duplicate_of, file.same_bytes) for file in result.duplicates] == [
        (wrong.relative_to(source).as_posix(), "zz-right", False)
    ]
    assert images_in(data) == expected(series)


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="this user may read everything"
)
def test_files_without_read_permission_are_reported(
    server: ArchiveServer, corpus: Corpus, source: Path, data: Path
) -> None:
    tcia_utils(source, corpus)
    any_file(source).chmod(0)
    (source / "closed").mkdir(mode=0)
    result = adopt(server, source, data)
    assert {file.reason for file in result.damaged} == {Reason.UNREADABLE}
    assert len(result.damaged) == 2
