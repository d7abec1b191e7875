"""Row 23 where locks lock nothing: runs that meet at every step of one series."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from tcia_covid.errors import TakenOverError
from tcia_covid.model import Receipt, Series
from tcia_covid.store import Disk, Tree, locks
from tests.fakes.crash import PausingDisk
from tests.unit.helpers import files_of
from tests.unit.trees import NAME, image_of, md5_of, series_of

ROUNDS = 20
RUNS = 4
IMAGES = 3


class Run(threading.Thread):
    """Brings one series into the tree, and tries again where another run took it."""

    def __init__(self, root: Path, series: Series, seed: int) -> None:
        super().__init__()
        self._tree = Tree(root, disk=PausingDisk(random.Random(seed)))
        self._series = series
        self._pauses = random.Random(seed)
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._tree.prepare()
            longest = 0.02
            while not self._attempt():
                time.sleep(self._pauses.uniform(0, longest))
                longest *= 2
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def _attempt(self) -> bool:
        try:
            with self._tree.stage(self._series, lambda count: None) as staging:
                if isinstance(staging, Receipt):
                    return True
                for number in range(IMAGES):
                    content = image_of(self._series, number)
                    staging.note_md5(f"{self._series.uid}.{number}", md5_of(content))
                    staging.receive([content], source="nbia")
                staging.settle()
                self._tree.commit(staging)
        except TakenOverError:
            return False
        return True


@pytest.mark.parametrize("damaged", [False, True], ids=["new", "damaged"])
def test_fault_23_runs_without_locks_meet_at_every_step_and_each_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    monkeypatch.setattr(locks, "_lock", lambda handle: None)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    series = series_of(1)
    folder = f"{series.patient}/{series.study}/{series.uid}"
    expected = {
        f"{folder}/{series.uid}.{number}.dcm": md5_of(image_of(series, number))
        for number in range(IMAGES)
    }
    for number in range(ROUNDS):
        root = tmp_path / str(number) / NAME
        if damaged:
            first = Run(root, series, seed)
            first.run()
            (root / folder / f"{series.uid}.1.dcm").unlink()
        runs = [Run(root, series, seed + RUNS * number + one) for one in range(RUNS)]
        for run in runs:
            run.start()
        for run in runs:
            run.join(60)
        assert [run.error for run in runs] == [None] * RUNS
        tree = Tree(root, disk=Disk(durable=False))
        with tree.stage(series, lambda count: None) as receipt:
            assert isinstance(receipt, Receipt)
        assert files_of(root) == expected
        assert tree.unsettled() == set()
