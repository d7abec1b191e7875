"""What all benchmarks share: inputs, fresh folders, repetition, limits."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.inputs import Input, Recipe, prepare
from tests.benchmarks.runs import REPOSITORY, Cost

CORES = len(os.sched_getaffinity(0))
_ROOM = 20e9
"""Bytes; one line of the table writes up to 15 GB."""
_SETTLING = 40.0
"""Seconds for which ext4 takes longer to make files, after some were removed."""
_HOOKS = Path(__file__).parent / "hooks"


@dataclass
class Bench:
    """How to measure.

    Attributes:
        cache: where inputs are kept between runs.
        output: where trees are written.
        scale: how much of everything, 1 for all.
        repeat: how often each is measured; the fastest counts, or the median of runs with limits.
        discard: remove each tree at once. Only for a file system in memory: where files were
            removed lately, ext4 takes a millisecond more to make one.
    """

    cache: Path
    output: Path
    scale: float = 1.0
    repeat: int = 3
    discard: bool = False
    _made: list[Path] = field(default_factory=list)

    def input(self, recipe: Recipe) -> Input:
        """A collection, made if it is not in the cache."""
        return prepare(recipe.scaled(self.scale), self.cache)

    def folder(self) -> Path:
        """A new folder to write to."""
        self.output.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=self.output))
        self._made.append(path)
        return path

    def done_with(self, folder: Path) -> None:
        """Nobody needs the tree any more."""
        if self.discard:
            shutil.rmtree(folder)
            self._made.remove(folder)

    def make_room(self) -> None:
        """Remove what was written so far: it is no longer needed, and fills the disk."""
        if self._made and shutil.disk_usage(self.output).free < _ROOM:
            self.clean()
            time.sleep(_SETTLING)

    def clean(self) -> None:
        """Remove all that was written."""
        while self._made:
            shutil.rmtree(self._made.pop(), ignore_errors=True)

    def times(self) -> range:
        """For as often as is measured."""
        return range(self.repeat)


def best(costs: Sequence[Cost]) -> Cost:
    """The fastest run: other work on the machine can only slow a run down."""
    return min(costs, key=lambda cost: cost.wall)


@dataclass(frozen=True, slots=True)
class Compared:
    """A run, and what the machine could do just before and after it."""

    cost: Cost
    limit: float
    """Seconds; the mean of both."""

    @property
    def ratio(self) -> float:
        """Of the limit that was reached."""
        return self.limit / self.cost.wall


def in_turns(bench: Bench, run: Callable[[], Cost], limit: Callable[[], float]) -> list[Compared]:
    """Measure run and limit in turns: the speed of disks and of shared hardware varies."""
    pairs = []
    before = limit()
    for _ in bench.times():
        cost = run()
        after = limit()
        pairs.append(Compared(cost, (before + after) / 2))
        before = after
    return sorted(pairs, key=lambda pair: pair.ratio)


def middle(pairs: Sequence[Compared]) -> Compared:
    """The one of the median ratio; the better of two."""
    return pairs[len(pairs) // 2]


def ratios(pairs: Sequence[Compared]) -> list[float]:
    """All of them, rounded."""
    return [round(pair.ratio, 3) for pair in pairs]


def engines() -> dict[str, str]:
    """The available inflaters: the name, and the module that must be absent."""
    found = {"zlib": "isal"}
    return {"isal": "", **found} if importlib.util.find_spec("isal") else found


def disk_limit(bench: Bench, made: Input, threads: int, without: str) -> float:
    """Seconds to inflate, hash and write a collection from ZIPs in the page cache."""
    folder = bench.folder()
    seconds = _limit("disk", made.folder, folder, threads, without=without)
    bench.done_with(folder)
    return seconds


def socket_limit(url: str, made: Input, threads: int) -> float:
    """Seconds to receive a collection into memory."""
    return _limit("socket", url, made.folder, threads)


def _limit(*arguments: object, without: str = "") -> float:
    command = [sys.executable, "-m", "tests.benchmarks.baselines", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(_HOOKS), "BENCHMARK_WITHOUT": without}
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    return float(ended.stdout)
