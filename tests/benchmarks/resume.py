"""The benchmark of resuming: (g) the bytes that are downloaded twice after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import Bench
from tests.benchmarks.inputs import CT, Input
from tests.benchmarks.results import Row, Target
from tests.benchmarks.runs import REPOSITORY, download, download_command, serving, statistics

_JOBS = 8


@dataclass(frozen=True, slots=True)
class Left:
    """What a killed run left."""

    images: int
    """Complete images, in the tree and in staging."""
    parts: int
    """Bytes of images that were under way."""


def resuming(bench: Bench) -> Iterator[Row]:
    """(g) A run killed at half; the next one resumes."""
    made, output = bench.input(CT), bench.folder()
    with serving(made) as url:
        _killed_at_half(made, url, output)
        left = _left(output)
        before = statistics(url)
        cost = download(made, url, output)
        after = statistics(url)
    image = made.size // made.images
    missing = made.images - left.images
    received = after["sent"] - before["sent"]
    # A stream sends existing images again, but deflated: it is chosen if that is less.
    again = received - missing * image
    assert cost.document["images"]["stored"] == made.images
    target = Target("at most an image a worker", again <= _JOBS * image)
    what = f"resumed with {left.images:,} of {made.images:,} images"
    remarks = {
        "bytes received": received,
        "bytes of the missing images": missing * image,
        "bytes of images cut by the kill": left.parts,
        "images sent twice": _delivered(made, before, after) - missing,
        "asked": {
            name: after["asked"][name] - before["asked"].get(name, 0) for name in after["asked"]
        },
    }
    more = f"{again / 1e6:+.0f} MB more than the missing images have"
    yield Row("g", f"{what}; {more}", cost, targets=(target,), remarks=remarks)


def _killed_at_half(made: Input, url: str, output: Path) -> None:
    command = download_command(made, url, output)
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        half = made.sent / 2
        while process.poll() is None and statistics(url)["sent"] < half:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)


def _left(output: Path) -> Left:
    images = parts = 0
    for folder, _, names in os.walk(output):
        images += sum(name.endswith(".dcm") for name in names)
        parts += sum(Path(folder, name).stat().st_size for name in names if name.endswith(".part"))
    return Left(images, parts)


def _delivered(made: Input, before: dict[str, Any], after: dict[str, Any]) -> int:
    """Images that the second run requested: as complete series, or one by one."""
    streams = sum(after["series"].values()) - sum(before["series"].values())
    single = after["asked"].get("getSingleImage", 0) - before["asked"].get("getSingleImage", 0)
    return int(streams * made.recipe.images + single)
