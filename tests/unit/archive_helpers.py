"""Fetches single series in a test, without the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.events import Event
from tcia_covid.core.models import Outcome, Series
from tcia_covid.http.client import Client
from tcia_covid.http.settings import HttpSettings
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.series import fetch_series
from tests.fakes.corpus import DemoSeries
from tests.fakes.nbia import ArchiveServer
from tests.waiting import LONG

QUICK = HttpSettings(retries=3, retry_wait=0.01, stall_timeout=LONG, first_byte_timeout=LONG)


@contextmanager
def nbia_of(
    server: ArchiveServer, settings: HttpSettings = QUICK, *, v1: bool = False
) -> Iterator[NbiaArchive]:
    """An NBIA client of `server`."""
    client = Client(settings)
    try:
        yield NbiaArchive(client, server.v1_url if v1 else server.base_url)
    finally:
        client.close()


def fetch(
    server: ArchiveServer,
    tree: Tree,
    uid: str,
    *,
    settings: HttpSettings = QUICK,
    update: bool = False,
    events: list[Event] | None = None,
) -> Outcome:
    """Fetch one series into `tree`, as a worker of a run would."""
    with nbia_of(server, settings) as nbia:
        series = listed(nbia, uid)
        context = TransferContext(
            CancelToken(), settings, (events if events is not None else []).append
        )
        return fetch_series(series, [nbia], tree, context, update=update)


def listed(nbia: NbiaArchive, uid: str) -> Series:
    """The series as the archive lists it."""
    (series,) = nbia.list_series([uid])
    return series


def biggest(server: ArchiveServer) -> DemoSeries:
    """The series with the most images."""
    return max(server.corpus, key=lambda series: (len(series.images), series.uid))


def pair(server: ArchiveServer) -> DemoSeries:
    """A series of two images: enough for every step of the way."""
    return next(s for s in server.corpus if len(s.images) == 2 and s.modality == "CT")


def files_of(root: Path) -> dict[str, str]:
    """Every file of the tree that is not the program's own, with its MD5."""
    return {
        path.relative_to(root).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".tcia-covid" not in path.parts
    }


def expected_files(series: DemoSeries) -> dict[str, str]:
    """The files that a complete series has in the tree, with their MD5."""
    folder = f"{series.patient.id}/{series.study.uid}/{series.uid}"
    return {f"{folder}/{image.uid}.dcm": image.md5.zfill(32) for image in series.images}
