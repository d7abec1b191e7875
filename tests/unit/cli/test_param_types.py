"""The types of values on the command line."""

from __future__ import annotations

import click
import pytest

from tcia_covid.cli.param_types import UserFolder, parse_bucket_hosts


def test_several_bucket_hosts_are_accepted() -> None:
    assert parse_bucket_hosts("GCS, http://127.0.0.1:9000/s3") == "gcs,http://127.0.0.1:9000/s3"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ('C:\\data"', "ends with a quotation mark"),
        ("C:\\what?\\x", "a folder named 'what\\?'"),
        ("C:\\x\\aux.1", "a folder named 'aux.1'"),
        ("x. \\y", "a folder named 'x. '"),
    ],
)
def test_a_folder_that_windows_does_not_permit_is_named(path: str, reason: str) -> None:
    with pytest.raises(click.BadParameter, match=reason):
        UserFolder(windows=True).convert(path, None, None)


@pytest.mark.parametrize("path", ["C:\\a b\\..\\c.d", "\\\\server\\share\\x", "C:x", ".", "a/b"])
def test_folders_that_windows_permits_are_accepted(path: str) -> None:
    assert UserFolder(windows=True).convert(path, None, None) == path
