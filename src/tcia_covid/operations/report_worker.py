"""The worker process of `report`: reads headers and decodes one image of each series.

Reads one JSON object per line from standard input and answers with one per line. Ends with its
input, so that no worker stays when the program is killed.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.formats.geometry import Kind, check_geometry, representative
from tcia_covid.formats.hashes import hash_file
from tcia_covid.formats.image_header import ImageHeader, read_image_header
from tcia_covid.formats.thumbnails import render_thumbnail

_Image = tuple[str, int, str]
"""File name, bytes and MD5, as in the receipt."""


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the workers, too
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints is no answer
    for line in sys.stdin.buffer:
        answers.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
        answers.flush()


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Look at one series.

    Returns:
        `geometry`, `image` (MD5 of the image that represents the series, empty if none has
        pixels), `jpeg` (base64), and `problem` (why one of these is missing).
    """
    folder = Path(question["folder"])
    images: list[_Image] = [(file, size, md5) for file, size, md5 in question["images"]]
    try:
        if images[0][0].endswith(".nii.gz"):
            return {"geometry": None, "image": images[0][2], **_thumbnail(folder, images[0])}
        headers = [_header(folder, image) for image in images]
    except (OSError, ForeignImageError) as error:
        return {"problem": _reason(error)}
    geometry = check_geometry(headers)
    best = representative(headers)
    result = {"geometry": asdict(geometry), "image": "" if best is None else images[best][2]}
    if best is None or geometry.kind is Kind.NO_IMAGE:
        return result
    return {**result, **_thumbnail(folder, images[best])}


def _header(folder: Path, image: _Image) -> ImageHeader:
    path = f"{folder}{os.sep}{image[0]}"  # joining Paths takes as long as reading the header
    try:
        return read_image_header(path)
    except ForeignImageError as error:
        raise ForeignImageError(f"{error.message} ({image[0]})") from error


def _thumbnail(folder: Path, image: _Image) -> dict[str, Any]:
    file, size, md5 = image
    path = folder / file
    try:
        if hash_file(path, "md5") != (size, md5):
            return {"problem": f"{file} differs from its receipt: use 'tcia-covid verify'"}
        return {"jpeg": base64.b64encode(render_thumbnail(path)).decode()}
    except (OSError, ForeignImageError) as error:
        return {"problem": f"{_reason(error)} ({file})"}


def _reason(error: OSError | ForeignImageError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else error.message
