"""Archives for tests and benchmarks: a test CA, prebuilt ZIPs, an archive in its own process.

`python -m tests.fakes.nbia_servers --patients 4 --images 100 --rows 512 --columns 512 --prebuilt`
prints the base URL and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import datetime as dt
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import trustme

from tests.fakes.corpus import Corpus, demo_corpus
from tests.fakes.nbia import ArchiveServer, Interceptor
from tests.fakes.nbia_faults import Faults
from tests.fakes.nbia_replies import Call, Reply
from tests.fakes.synthetic import synthetic_corpus

REPOSITORY = Path(__file__).parents[2]
BLOCK = 1 << 20
NAME = "SMALL"
"""The collection of the small archive."""


class Authority:
    """A certificate authority that only the test trusts."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def server_context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """What a server needs to speak TLS under `names` (by default 127.0.0.1 and localhost)."""
        past = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=1)
        certificate = self._ca.issue_cert(
            *(names or ("127.0.0.1", "localhost")), not_after=past if expired else None
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    def write_bundle(self, file: Path) -> Path:
        """Write the CA's certificate, for REQUESTS_CA_BUNDLE and the like."""
        self._ca.cert_pem.write_to_path(str(file))
        return file


def small_archive(faults: Faults, *, series: int = 2, images: int = 2) -> ArchiveServer:
    """An archive of three patients, with so many series each and images in a series."""
    corpus = synthetic_corpus(
        NAME, patients=3, series_per_patient=series, images_per_series=images, rows=32, columns=32
    )
    return ArchiveServer(corpus, interceptor=faults, compression=1)


class PrebuiltZips(Interceptor):
    """Makes each ZIP once: from then on the server's part of a download costs next to nothing."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], Reply] = {}
        self._lock = threading.Lock()

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        if not call.endpoint.startswith(("getImage", "getDCMImage")):
            return proceed()
        key = (call.endpoint, *(f"{name}={value}" for name, value in call.params.items()))
        with self._lock:
            if key not in self._made:
                reply = proceed()
                self._made[key] = replace(reply, body=b"".join(_body(reply)))
        made = self._made[key]
        return replace(made, body=_blocks(made.body))


@contextmanager
def archive_process(*arguments: str) -> Iterator[str]:
    """The base URL of an archive in a process of its own, which ends with the block.

    Args:
        arguments: those of this module's command line.
    """
    command = [sys.executable, "-m", "tests.fakes.nbia_servers", *arguments]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def main(arguments: list[str] | None = None) -> None:
    """Serve a corpus until standard input ends."""
    options = _parser().parse_args(arguments)
    interceptor = PrebuiltZips() if options.prebuilt else None
    with ArchiveServer(
        _corpus(options), port=options.port, interceptor=interceptor, compression=options.level
    ) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


def _corpus(options: argparse.Namespace) -> Corpus:
    if options.demo:
        return demo_corpus()
    return synthetic_corpus(
        options.collection,
        patients=options.patients,
        series_per_patient=options.series,
        images_per_series=options.images,
        rows=options.rows,
        columns=options.columns,
        modality=options.modality,
        seed=options.seed,
        hashed=not options.unhashed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--demo", action="store_true", help="serve pydicom's files")
    parser.add_argument("--collection", default="SYNTHETIC")
    parser.add_argument("--modality", default="CT")
    for name, default in (("patients", 2), ("series", 2), ("images", 4), ("rows", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--columns", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--level", type=int, default=6, help="zlib's level for ZIPs")
    parser.add_argument("--prebuilt", action="store_true", help="make each ZIP once")
    parser.add_argument("--unhashed", action="store_true", help="blank MD5s, for long lists")
    return parser


def _body(reply: Reply) -> Iterator[bytes]:
    yield from [reply.body] if isinstance(reply.body, bytes) else reply.body


def _blocks(body: object) -> Iterator[bytes]:
    assert isinstance(body, bytes)
    for start in range(0, len(body), BLOCK):
        yield body[start : start + BLOCK]


if __name__ == "__main__":
    main()
