"""Reading the archive's list of image hashes."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_covid.core.errors import BadResponseError
from tcia_covid.formats.hashes import multipart_etags, parse_md5_list, parts_of_etag, same_md5

MD5 = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_reads_names_and_hashes_in_their_stored_spelling(end, last):
    lines = ["Filename,MD5Hash", f"00000002.dcm,{MD5}", f"00000001.dcm,{MD5[1:].upper()}"]
    text = end.join(lines) + (end if last else "")

    assert parse_md5_list(text.encode()) == {"00000002.dcm": MD5, "00000001.dcm": MD5[1:].upper()}


@pytest.mark.parametrize("blank", ["", " ", "null", "NULL", "n/a", "-1", "0" * 33])
def test_values_that_are_not_hashes_mean_none(blank):
    assert parse_md5_list(f"Filename,MD5Hash\na.dcm,{blank}\n".encode()) == {"a.dcm": ""}


def test_names_may_contain_commas_because_nothing_is_quoted():
    assert parse_md5_list(f"Filename,MD5Hash\na,b.dcm,{MD5}\n".encode()) == {"a,b.dcm": MD5}


@pytest.mark.parametrize(
    "data", [b"", b"Filename,MD5Hash\n", b"\xef\xbb\xbfFilename,MD5Hash\r\n\r\n"]
)
def test_a_list_without_rows_is_empty(data):
    assert parse_md5_list(data) == {}


def test_repeated_rows_are_merged():
    assert len(parse_md5_list(f"Filename,MD5Hash\na,{MD5}\na,{MD5}\n".encode())) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>", "does not begin with"),
        (b"\xff\xfe\x00", "is not text"),
        (b"Filename,MD5Hash\nlonely\n", "no name and hash in line 2"),
        (b"Filename,MD5Hash\n\n,abc\n", "no name and hash in line 3"),
        (b"Filename,MD5Hash\na,1\na,2\n", "two hashes for one name, in line 3"),
    ],
)
def test_other_content_is_refused(data, words):
    with pytest.raises(BadResponseError, match=words) as caught:
        parse_md5_list(data)
    assert caught.value.retryable


@given(st.binary(max_size=80))
def test_random_bytes_give_a_list_or_a_typed_error(noise):
    with contextlib.suppress(BadResponseError):
        parse_md5_list(b"Filename,MD5Hash\n" + noise)


def test_leading_zeros_and_case_do_not_matter():
    assert same_md5(MD5, MD5)
    assert same_md5(MD5[1:], MD5)
    assert same_md5(f" {MD5.upper()} ", MD5)
    assert same_md5("1", "0" * 31 + "1")


def test_other_hashes_and_missing_hashes_differ():
    assert not same_md5(MD5[:-1] + "0", MD5)
    assert not same_md5(MD5[:-1], MD5)
    assert not same_md5("", MD5)


@pytest.mark.parametrize(
    ("part_size", "parts"),
    [(8 * 2**20, 2), (5 * 2**20, 2), (3_000_000, 3), (2**20, 9), (9_000_000, 1), (11 * 2**20, 2)],
)
def test_an_etag_of_an_upload_in_parts_is_recomputed(tmp_path, part_size, parts):
    content = bytes(range(250)) * (36_000 if part_size < 10**7 else 60_000)
    path = tmp_path / "object"
    path.write_bytes(content)
    pieces = [content[start : start + part_size] for start in range(0, len(content), part_size)]
    assert len(pieces) == parts
    digests = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    etag = f"{hashlib.md5(digests).hexdigest()}-{parts}"
    assert parts_of_etag(etag) == parts
    assert etag in multipart_etags(path, parts)


def test_an_object_that_cannot_have_so_many_parts_has_no_such_etag(tmp_path: Path):
    (tmp_path / "object").write_bytes(b"12345")
    assert multipart_etags(tmp_path / "object", 9) == frozenset()


@pytest.mark.parametrize("etag", [None, "", MD5, f"{MD5}-", f"{MD5}-0", f"{MD5}-123456", "x-2"])
def test_another_etag_has_no_number_of_parts(etag):
    assert parts_of_etag(etag) is None
