"""Row 23 where locks lock nothing: runs that meet at every step of the same series."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.errors import TakenOverError
from tcia_covid.core.models import Receipt, Series
from tcia_covid.store.disk import Disk
from tcia_covid.store.layout import Layout
from tcia_covid.store.locks import Lock
from tcia_covid.store.tree import Tree
from tests.fakes.crashing_disk import PausingDisk
from tests.unit.archive_helpers import files_of
from tests.unit.trees import NAME, image_of, md5_of, series_of

ROUNDS = 20 if sys.platform != "win32" else 3  # Wine takes 30 times as long
RUNS = 4
IMAGES = 3


LAYOUT = Layout.parse("{patient}/{series_tail}")


class Run(threading.Thread):
    """Downloads series, and tries again where another run took them."""

    def __init__(self, root: Path, series: Sequence[Series], seed: int) -> None:
        super().__init__()
        self._pauses = random.Random(seed)
        self._tree = Tree(root, LAYOUT, PausingDisk(random.Random(seed)))
        self._series = self._pauses.sample(series, len(series))
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._tree.prepare()
            for series in self._series:
                longest = 0.02
                while not self._attempt(series):
                    time.sleep(self._pauses.uniform(0, longest))
                    longest *= 2
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def _attempt(self, series: Series) -> bool:
        try:
            with self._tree.stage(series, lambda count: None) as staging:
                if isinstance(staging, Receipt):
                    return True
                for number in range(IMAGES):
                    content = image_of(series, number)
                    staging.note_md5(f"{series.uid}.{number}", md5_of(content))
                    staging.receive([content], source="nbia")
                staging.record_verified()
                self._tree.commit(staging)
        except TakenOverError:
            return False
        return True


def of_one_name(count: int) -> list[Series]:
    """Series that the layout gives the same folder name."""
    like = series_of(1)
    return [replace(like, uid=f"{like.uid}.{number}.12345") for number in range(count)]


@pytest.mark.parametrize("damaged", [False, True], ids=["new", "damaged"])
@pytest.mark.parametrize("count", [1, 2], ids=["one series", "two of one name"])
def test_fault_23_runs_without_locks_that_meet_at_any_step_all_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, damaged: bool
) -> None:
    monkeypatch.setattr(Lock, "lock_file", staticmethod(lambda handle: None))
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    series = of_one_name(count)
    images = sorted(md5_of(image_of(item, number)) for item in series for number in range(IMAGES))
    for number in range(ROUNDS):
        root = tmp_path / str(number) / NAME
        if damaged:
            first = Run(root, series, seed)
            first.run()
            for file in sorted(root.glob(f"*/*/*.{IMAGES - 1}.dcm")):
                file.unlink()
        runs = [Run(root, series, seed + RUNS * number + item) for item in range(RUNS)]
        for run in runs:
            run.start()
        for run in runs:
            run.join(60)
        assert [run.error for run in runs] == [None] * RUNS
        tree = Tree(root, LAYOUT, Disk(durable=False))
        for item in series:
            with tree.stage(item, lambda count: None) as receipt:
                assert isinstance(receipt, Receipt)
        assert sorted(files_of(root).values()) == images
        assert tree.needs_check() == set()
