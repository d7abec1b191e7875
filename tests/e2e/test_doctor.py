"""`doctor` as a user runs it: against both archives, without a network, and with --json."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import document, run
from tests.fakes.cataloged_archives import cataloged_corpus, put_in_buckets
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Faults
from tests.fakes.s3 import S3Server, running_s3
from tests.fakes.zip_faults import NoHashTable

__all__ = ["running_s3"]


@pytest.fixture(scope="module", name="archives")
def _archives(s3_server: S3Server) -> Iterator[list[str]]:
    put_in_buckets(s3_server)
    with ArchiveServer(cataloged_corpus(), compression=1) as nbia:
        yield ["--nbia-url", nbia.base_url, "--idc-url", s3_server.url]


def test_the_report_names_every_fact(archives: list[str], tmp_path: Path) -> None:
    result = run("doctor", "data", *archives, home=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    for name in ("disk.rename", "nbia.zip", "nbia.md5-table", "idc.range", "compare.idc"):
        assert any(line.startswith(f"ok      {name} ") for line in lines), result.stdout
    assert "checking the connections to IDC and NBIA" in result.stderr
    assert list(tmp_path.glob("data*")) == []


def test_the_document_has_the_same_facts(s3_server: S3Server, tmp_path: Path) -> None:
    put_in_buckets(s3_server)
    faults = Faults(NoHashTable())
    with ArchiveServer(cataloged_corpus(), interceptor=faults, compression=1) as nbia:
        result = run("doctor", "--json", "--nbia-url", nbia.base_url, "--source", "nbia",
                     home=tmp_path)  # fmt: skip
    facts = {fact["name"]: fact for fact in document(result)["facts"]}
    assert result.returncode == document(result)["exit_code"] == 1
    assert facts["nbia.md5-table"]["outcome"] == "failed"
    assert facts["nbia.image"]["outcome"] == "ok"
    assert "error: 1 fact failed: nbia.md5-table" in result.stderr


def test_without_a_network_it_ends_at_once_with_exit_code_3(tmp_path: Path) -> None:
    began = time.monotonic()
    nowhere = "http://archive.invalid"
    result = run("doctor", "--nbia-url", nowhere, "--idc-url", nowhere, home=tmp_path)
    assert time.monotonic() - began < 10
    assert result.returncode == 3
    assert "FAILED  nbia.dns" in result.stdout
    assert "-       nbia.md5-table" in result.stdout
    assert "error: no archive sent images: nbia.dns, idc.dns" in result.stderr
