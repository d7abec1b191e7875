"""The least that the machine needs for the same bytes; each runs as a process of its own.

`python -m tests.benchmarks.baselines socket URL FOLDER THREADS` reads all series into memory.
`python -m tests.benchmarks.baselines disk FOLDER OUTPUT THREADS` inflates, hashes and writes them.
Both print the seconds that it took, without the start of Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from tcia_covid.formats.inflate import DEFAULT
from tests.benchmarks.inputs import Input, Recipe
from tests.benchmarks.zips import Place

_FEED = 64 * 1024
_PIECE = 124 * 1024
"""Bytes; these are the fastest here, since larger ones are mapped again for each piece."""


def load(folder: Path) -> Input:
    """The collection in a folder."""
    return Input(Recipe(**json.loads((folder / "done").read_text())), folder)


def read_sockets(url: str, made: Input, threads: int) -> float:
    """Receive every series, framing and all, into a buffer and do nothing with it."""
    parts = urlsplit(url)
    address = (parts.hostname, parts.port)
    sizes = {uid: made.body(uid).stat().st_size for uid in made.uids}

    def work(uids: SimpleQueue[str]) -> None:
        buffer = bytearray(_FEED * 4)
        with socket.create_connection(address) as connection:
            for uid in _taken(uids):
                path = f"{parts.path}/getImage?SeriesInstanceUID={uid}"
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                _receive(connection, buffer, sizes[uid])

    return _timed(work, made.uids, threads)


def inflate_to_disk(made: Input, output: Path, threads: int) -> float:
    """Inflate, hash and write every image; force each complete series to the disk."""
    places = {uid: made.places(uid) for uid in made.uids}
    for uid in made.uids:
        (output / uid).mkdir(parents=True)

    def work(uids: SimpleQueue[str]) -> None:
        for uid in _taken(uids):
            with made.zip(uid).open("rb", buffering=0) as file:
                for number, place in enumerate(places[uid]):
                    file.seek(place.offset)
                    _write_image(file.read, place, output / uid / f"{number}.dcm")
            _force(output / uid)

    return _timed(work, made.uids, threads)


def _write_image(read: Callable[[int], bytes], place: Place, target: Path) -> None:
    inflater = DEFAULT.new_inflater()
    md5 = hashlib.md5()
    left = place.packed
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    while not inflater.eof:
        fed = read(min(_FEED, left)) if inflater.needs_input else b""
        left -= len(fed)
        piece = inflater.decompress(fed, _PIECE)
        md5.update(piece)
        os.write(handle, piece)
    os.close(handle)
    md5.hexdigest()


def _force(folder: Path) -> None:
    """What the program does before it publishes a series."""
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _receive(connection: socket.socket, buffer: bytearray, size: int) -> None:
    """Receive an answer whose body has `size` bytes."""
    head = connection.recv_into(buffer)
    left = size - (head - buffer.index(b"\r\n\r\n") - 4)
    while left > 0:
        left -= connection.recv_into(buffer)


def _timed(work: Callable[[SimpleQueue[str]], None], uids: Sequence[str], threads: int) -> float:
    queue: SimpleQueue[str] = SimpleQueue()
    for uid in uids:
        queue.put(uid)
    running = [threading.Thread(target=work, args=(queue,)) for _ in range(threads)]
    began = time.monotonic()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return time.monotonic() - began


def _taken(queue: SimpleQueue[str]) -> Iterator[str]:
    """What is in the queue, shared with other threads."""
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return


def main(kind: str, *arguments: str) -> None:
    """Measure one limit."""
    if kind == "socket":
        url, folder, threads = arguments
        print(read_sockets(url, load(Path(folder)), int(threads)))
    else:
        folder, output, threads = arguments
        print(inflate_to_disk(load(Path(folder)), Path(output), int(threads)))


if __name__ == "__main__":
    main(*sys.argv[1:])
