"""Receiving series from an S3 server into a staging folder, without a run around."""

from __future__ import annotations

from pathlib import Path

from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.core.models import Series
from tcia_covid.store.disk import Disk
from tcia_covid.store.staging import Staging
from tests.fakes.corpus import DemoSeries
from tests.fakes.s3 import object_key

DEAD = "http://127.0.0.1:9"
"""No server listens at this address."""


def sink_for(series: Series, folder: Path) -> Staging:
    folder.mkdir(exist_ok=True)
    return Staging(series, folder, Disk(durable=False), lambda count: None)


def received(archive: IdcArchive, series: Series, folder: Path) -> Staging:
    sink = sink_for(series, folder)
    archive.receive_series(series, sink)
    return sink


def md5s(demo: DemoSeries) -> dict[str, str]:
    return {image.uid: (image.md5 or "").zfill(32) for image in demo.images}


def md5s_of(sink: Staging) -> dict[str, str]:
    return {image.uid: image.md5 for image in sink.images.values()}


def key_of(demo: DemoSeries, index: int = 0) -> str:
    return object_key(demo.uid, demo.images[index].uid)
