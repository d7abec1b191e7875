"""A real S3 server on loopback (moto, in a process of its own), and IDC's folders in it."""

from __future__ import annotations

import http.client
import math
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.core.models import Series
from tcia_covid.http.client import Client
from tcia_covid.http.settings import HttpSettings
from tests.fakes.corpus import DemoPatient, DemoSeries, DemoStudy
from tests.fakes.synthetic import ROOT, synthetic_series
from tests.waiting import LONG

BUCKET = "idc-open-data"
RESTRICTED_BUCKET = "idc-open-data-cr"
QUICK = HttpSettings(
    retries=3, retry_wait=0.01, connect_timeout=LONG, stall_timeout=LONG, first_byte_timeout=LONG
)
_SERVE = """
import os, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
"""
"""Ends with the pipe, and so with the process that started it, even if that is killed."""
_PUBLIC = {"x-amz-acl": "public-read"}


class S3Server:
    """One S3 server; objects put here are public, as IDC's are."""

    def __init__(self) -> None:
        # Parts of a few bytes, where the real one wants 5 MiB: the ETag's shape is what matters.
        environment = os.environ | {"S3_UPLOAD_PART_MIN_SIZE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"
        self._buckets: set[str] = set()
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def __enter__(self) -> S3Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server."""
        for connection in self._connections:
            connection.close()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket that anybody may list and read; it may be there already."""
        if bucket not in self._buckets:
            self._buckets.add(bucket)
            self._send("PUT", f"/{bucket}", headers={"x-amz-acl": "public-read"})

    def put(self, bucket: str, key: str, content: bytes, *, public: bool = True) -> None:
        """Put an object: its ETag is its MD5."""
        headers = _PUBLIC if public else {"x-amz-acl": "private"}
        self._send("PUT", f"/{bucket}/{key}", content, headers)

    def put_all(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Put many objects."""
        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(self.put, bucket, *item) for item in objects.items()]:
                done.result()

    def put_in_parts(
        self, bucket: str, key: str, content: bytes, parts: int = 2, *, step: int | None = None
    ) -> None:
        """Upload an object in parts of `step` bytes, or equal ones: its ETag is not its MD5."""
        path = f"/{bucket}/{key}"
        begun, _ = self._send("POST", f"{path}?uploads", headers=_PUBLIC)
        upload = re.search(rb"<UploadId>(.*?)</UploadId>", begun)
        assert upload is not None
        token = f"uploadId={upload[1].decode()}"
        step = step or -(-len(content) // parts)
        listed = ""
        for number in range(1, parts + 1):
            piece = content[(number - 1) * step : number * step]
            _, headers = self._send("PUT", f"{path}?partNumber={number}&{token}", piece)
            etag = headers["ETag"]
            listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"
        self._send("POST", f"{path}?{token}", document.encode())

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        self._send("DELETE", f"/{bucket}/{key}")

    def hold(
        self, series: DemoSeries, bucket: str = BUCKET, *, in_parts: Iterable[str] = ()
    ) -> Series:
        """Put a series as IDC does, and give the catalog's line of it.

        Args:
            series: its images are what is put.
            bucket: made if need be.
            in_parts: the SOPInstanceUIDs of images to upload in parts.
        """
        self.make_bucket(bucket)
        split = set(in_parts)
        whole: dict[str, bytes] = {}
        for image in series.images:
            if image.uid in split:
                self.put_in_parts(bucket, object_key(series.uid, image.uid), image.read())
            else:
                whole[object_key(series.uid, image.uid)] = image.read()
        self.put_all(bucket, whole)
        return cataloged(series, bucket)

    def _send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, http.client.HTTPMessage]:
        connection = self._connection()
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.read()
        assert response.status < 300, (response.status, content)
        return content, response.headers

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            self._local.connection = connection
            self._connections.append(connection)
        return connection


def series_of(number: int, *, images: int = 4, rows: int = 16) -> DemoSeries:
    """A series for one test; its images have 2 x `rows` x `rows` bytes and a header."""
    return synthetic_series(
        f"{ROOT}.7.{number}",
        "SYNTHETIC",
        DemoPatient(f"P-{number}"),
        DemoStudy(f"{ROOT}.7.{number}.0", "1901-02-03"),
        images=images,
        rows=rows,
        columns=rows,
        seed=number,
    )


def folder_of(series_uid: str) -> str:
    """The folder that IDC might have given a series."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, series_uid))


def object_key(series_uid: str, image_uid: str) -> str:
    """The key that IDC might have given an image: nothing of its SOPInstanceUID is in it."""
    return f"{folder_of(series_uid)}/{uuid.uuid5(uuid.NAMESPACE_OID, image_uid)}.dcm"


def cataloged(series: DemoSeries, bucket: str = BUCKET) -> Series:
    """The line that a catalog would have of a series held in `bucket`."""
    return Series(
        uid=series.uid,
        collection=series.collection,
        patient=series.patient.id,
        study=series.study.uid,
        modality=series.modality,
        image_count=len(series.images),
        size=sum(image.size for image in series.images),
        bucket=bucket,
        crdc_uuid=folder_of(series.uid),
    )


@contextmanager
def idc_of(
    url: str,
    *held: Series,
    settings: HttpSettings = QUICK,
    connections: int = 8,
    max_pause: float = math.inf,
) -> Iterator[IdcArchive]:
    """An IDC client of the S3 server at `url`, with a catalog of the series `held`."""
    client = Client(settings, connections=connections, max_pause=max_pause)
    known = {series.uid: series for series in held}

    def find(uids: Iterable[str]) -> dict[str, Series]:
        return {uid: known[uid] for uid in uids if uid in known}

    def list_all(collection: str) -> list[Series]:
        return [series for series in held if series.collection == collection]

    try:
        yield IdcArchive(client, url, find=find, list_all=list_all)
    finally:
        client.close()


_RUNNING = pytest.StashKey[S3Server]()


@pytest.fixture(scope="session", name="s3_server")
def running_s3(pytestconfig: pytest.Config) -> S3Server:
    """One S3 server for all tests, whichever modules take this in; each uses series of its own."""
    if _RUNNING not in pytestconfig.stash:
        server = S3Server()
        pytestconfig.add_cleanup(server.close)
        pytestconfig.stash[_RUNNING] = server
    return pytestconfig.stash[_RUNNING]
