"""Errors of S3 servers in words."""

from __future__ import annotations

import pytest

from tcia_covid.http.response import S3Error, parse_s3_error


def test_code_message_and_request_id_are_read() -> None:
    body = (
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Code>NoSuchKey</Code><Message>&quot;a&quot; is\nnot here</Message>"
        b"<RequestId>F1</RequestId></Error>"
    )
    error = parse_s3_error(body)
    assert error == S3Error("NoSuchKey", '"a" is not here', "F1")
    assert str(error) == 'NoSuchKey: "a" is not here (request F1)'


def test_an_error_response_that_is_cut_is_read_up_to_the_cut() -> None:
    assert str(parse_s3_error(b"<Error><Code>SlowDown</Code><Message>Please red")) == (
        "SlowDown: Please red"
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"busy", b"<html><Error><Code>x</Code>", b"<ListBucketResult/>", b"<Error></Error>"],
)
def test_anything_else_is_no_s3_error(body: bytes) -> None:
    assert parse_s3_error(body) is None
