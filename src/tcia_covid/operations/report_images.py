"""Reads the images of series: geometry and a thumbnail, in worker processes, with a cache.

A worker is a process because decoding holds Python's lock, and because a hostile image may crash a
decoder: then that series has a reason instead of a thumbnail, and the others continue.

The cache is in the state folder: one file per series with its geometry, named by a hash of the
MD5s of its images, and one JPEG per thumbnail, named by the MD5 of its image. What a killed run
has written, the next run reuses.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import queue
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcia_covid.core.models import Receipt
from tcia_covid.core.redaction import printable
from tcia_covid.formats.geometry import Geometry
from tcia_covid.store.disk import Disk, read_json

_FIELDS = ("geometry", "image")
_FORMAT = 1
"""Part of the names in the cache: another number ignores older files."""
_SERIES_TIMEOUT = 300.0
"""Seconds after which a worker is killed, in a decoder that does not end."""
_WORKER = (
    "import sys; sys.path[:] = {path!r}; from tcia_covid.operations.report_worker import main; "
    "main()"
)
"""The workers import what this process imports, and nothing from the current folder."""


@dataclass(frozen=True, slots=True)
class SeriesImages:
    """What the images of a series show."""

    geometry: Geometry | None = None
    """None where no header could be read, and for NIfTI volumes."""
    thumbnail: str = ""
    """The name of its file in the cache; empty if there is none."""
    problem: str = ""
    """Why there is no geometry or thumbnail."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], receipt: Receipt) -> SeriesImages:
        """Read the answer of a worker or a file of the cache, which is not trusted.

        Raises:
            ValueError, TypeError, KeyError, OverflowError: a value is invalid or missing.
        """
        geometry, image = values["geometry"], values["image"]
        if image and image not in {each.md5 for each in receipt.images}:
            raise ValueError(image)
        geometry = Geometry.from_dict(geometry) if geometry else None
        return cls(geometry, f"{image}.jpg" if image else "")


@dataclass(slots=True)
class _Worker:
    """A process that reads one series after another; started when it is first used."""

    process: subprocess.Popen[bytes] | None = None

    def ask(self, question: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send a series to the process; return its answer, or the reason why there is none."""
        process = self.process or self._start()
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        timer = threading.Timer(timeout, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if answer.endswith(b"\n"):
                result: dict[str, Any] = json.loads(answer)
                return result
        except OSError:
            pass  # the process ended
        finally:
            timer.cancel()
        self.close()
        return {"problem": "the decoder crashed or did not end"}

    def _start(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(  # noqa: S603 - this program's own code
            [sys.executable, "-c", _WORKER.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return self.process

    def close(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError), process:
                process.wait()


@dataclass(slots=True)
class ImageReader:
    """Reads the images of series; any number of threads may use it."""

    jobs: int
    """Worker processes."""
    timeout: float = _SERIES_TIMEOUT
    disk: Disk = field(default_factory=lambda: Disk(durable=False))
    _workers: list[_Worker] = field(default_factory=list)
    _free: queue.SimpleQueue[_Worker] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self._workers = [_Worker() for _ in range(self.jobs)]
        for worker in self._workers:
            self._free.put(worker)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()

    def read(self, receipt: Receipt, folder: Path, cache: Path) -> SeriesImages:
        """Geometry and thumbnail of a series: from the folder `cache`, or from its images.

        Raises:
            OSError: the cache cannot be written.
        """
        record = cache / f"{_key(receipt)}.json"
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, OverflowError):
            known = SeriesImages.from_dict(read_json(record), receipt)
            if not known.thumbnail or _is_own_file(cache / known.thumbnail):
                return known
        files = [(image.file, image.size, image.md5) for image in receipt.images]
        with self._worker() as worker:
            answer = worker.ask({"folder": os.fspath(folder), "images": files}, self.timeout)
        problem = printable(answer.get("problem", ""))
        if "image" not in answer:
            return SeriesImages(problem=problem)
        self._write(record, json.dumps({name: answer[name] for name in _FIELDS}).encode())
        images = SeriesImages.from_dict(answer, receipt)
        if "jpeg" not in answer:
            return SeriesImages(images.geometry, problem=problem)
        self._write(cache / images.thumbnail, base64.b64decode(answer["jpeg"]))
        return images

    @contextmanager
    def _worker(self) -> Iterator[_Worker]:
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    def _write(self, path: Path, content: bytes) -> None:
        self.disk.write_file(path, [content], path.parent)


def _is_own_file(path: Path) -> bool:
    """Whether a file exists and is not a link: the content of its target would be published."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _key(receipt: Receipt) -> str:
    """The name of a series in the cache: it follows from the content of its images."""
    md5s = "".join(sorted(image.md5 for image in receipt.images))
    return hashlib.md5(f"{_FORMAT} {md5s}".encode(), usedforsecurity=False).hexdigest()
