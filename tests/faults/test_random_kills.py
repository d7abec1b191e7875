"""Row 21: kills at random steps of every command that changes a tree, among users' files.

`TCIA_COVID_TEST_SEED` repeats the choices of a run whose seed a failed test printed;
`TCIA_COVID_TEST_KILLS=200` runs ten times as many kills. A new command needs a line in `SHARES`
and `PREPARE`.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tcia_covid.operations.status import read_status
from tcia_covid.store.reports import (
    MANIFEST,
    METADATA,
    REPORT_FILES,
    manifest_was_changed,
    outdated_reports,
)
from tests.e2e.command import QUICK
from tests.fakes.corpus import DemoSeries
from tests.fakes.other_downloaders import LAYOUTS
from tests.fakes.synthetic import ImageSpec, demo_image, synthetic_corpus, synthetic_image
from tests.faults.fork_server import Ended, ForkServer
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario
from tests.unit.trees import md5_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and POSIX signals")
KILLS = int(os.environ.get("TCIA_COVID_TEST_KILLS", "20"))
SHARES = {
    "download": 0.3,
    "update": 0.2,
    "adopt --copy": 0.15,
    "adopt --link": 0.125,
    "adopt --move": 0.125,
    "reports": 0.1,
}
"""Of the kills, by what they interrupt."""
_STATE = ".tcia-covid"
_KILLS_IN_A_ROW = 6
"""Before a run is left to end."""
_LONGEST_PAUSE = 0.005
"""Seconds from a step to a kill in its middle; half of the kills come just before a step."""
_FOREIGN = synthetic_image(ImageSpec("1.2.3.4", "1.2.3", "1.2", "SOMEBODY-ELSE"))
_USERS_FILES = {"notes.txt": b"mine", ".view/index": b"mine, too", "mask.dcm": _FOREIGN}


@dataclass(slots=True)
class Exercise:
    """One destination after the other, a command that is killed again and again, and its traces."""

    scenario: Scenario
    commands: ForkServer
    random: random.Random
    users_files: dict[Path, bytes] = field(default_factory=dict)
    allowed: dict[str, set[str]] = field(default_factory=dict)
    """The right MD5s of an image, by its path: two while an update replaces it."""
    wanted: set[str] = field(default_factory=set)
    """The SeriesInstanceUIDs that the command downloads or imports."""
    round: int = 0

    @property
    def have(self) -> Path:
        """Images that another program left, to adopt."""
        return self.scenario.folder / f"have{self.round}"

    def run(self, *arguments: str | Path, kill_at: int = 0, pause: float = 0.0) -> Ended:
        """Run a command on the destination."""
        more = ["--nbia-url", self.scenario.url, "--source", "nbia", *QUICK, "--no-fsync"]
        command = [
            *arguments,
            "-o",
            self.scenario.output,
            *more,
            "--registry",
            self.scenario.registry(),
        ]
        return self.commands.run(*command, kill_at=kill_at, pause=pause)

    def some_series(self) -> list[DemoSeries]:
        """A few series, chosen at random."""
        return self.random.sample(list(self.scenario.corpus), self.random.randint(1, 3))

    def fresh_output(self) -> None:
        """Continue with a new destination; in half of the cases it already has users' files."""
        self.scenario.output = self.scenario.folder / f"data{self.round}"
        if self.random.random() < 0.5:
            for item in self.some_series():
                name = next(path for path in self.scenario.expected() if item.uid in path)
                (self.scenario.output / NAME / name).parent.mkdir(parents=True)
        self.scenario.output.mkdir(exist_ok=True)
        self.add_users_files(self.scenario.output)

    def add_users_files(self, root: Path) -> None:
        """Add a user's files to every folder that has none yet, and that is not the program's."""
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        for folder in folders:
            if _STATE in folder.parts or ".view" in folder.parts:
                continue
            for name, content in _USERS_FILES.items():
                path = folder / name
                if path not in self.users_files:
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(content)
                    self.users_files[path] = content

    def allow_current(self) -> None:
        """The images that the archive has now are right, next to those that it had before."""
        for name, md5 in self.scenario.expected().items():
            self.allowed.setdefault(name, set()).add(md5)

    def images(self) -> dict[str, str]:
        """The images in the tree with their MD5, without those of users."""
        root = self.scenario.output / NAME
        files = self.scenario.files().items()
        return {name: md5 for name, md5 in files if root / name not in self.users_files}

    def check_users_files(self) -> None:
        """Check that all are unchanged where they were put."""
        lost = [
            path
            for path, content in self.users_files.items()
            if not path.is_file() or path.read_bytes() != content
        ]
        assert not lost

    def check_after_kill(self) -> None:
        """Check what must be true at any moment."""
        self.check_users_files()
        images = self.images()
        assert all(md5 in self.allowed[name] for name, md5 in images.items())
        tree = self.scenario.tree
        if not tree.state.is_dir():
            return
        if not outdated_reports(tree):
            assert not manifest_was_changed(tree)
        (status,) = read_status(self.scenario.output).collections
        complete = [receipt for receipt in tree.receipts.all() if self._is_in_place(receipt.folder)]
        assert status.complete.series <= len(complete)

    def _is_in_place(self, folder: str) -> bool:
        uid = folder.rpartition("/")[2]
        names = {path.name for path in (self.scenario.output / NAME / folder).glob("*.dcm")}
        series = self.scenario.corpus.series(uid)
        receipt = self.scenario.tree.receipts.read(uid)
        assert series is not None
        assert receipt is not None
        return names >= {image.file for image in receipt.receipt.images}

    def check_at_end(self, command: list[str | Path], ended: Ended) -> None:
        """Check that everything is right after a run that was not killed."""
        assert ended.code == 0, (command, ended.out, ended.err)
        self.check_users_files()
        complete = self.scenario.expected().items()
        expected = {name: md5 for name, md5 in complete if Path(name).parent.name in self.wanted}
        assert self.images() == expected
        tree = self.scenario.tree
        assert tree.series_in_staging() == set()
        assert not [path for path in tree.state.rglob("*") if path.suffix in (".part", ".dcm")]
        self._check_reports(expected)
        for again in ("status", "verify"):
            result = self.commands.run(again, self.scenario.output)
            assert result.code == 0, (result.out, result.err)
        self.allowed.clear()
        self.allow_current()

    def _check_reports(self, expected: dict[str, str]) -> None:
        root = self.scenario.output / NAME
        assert outdated_reports(self.scenario.tree, by_hash=True) == []
        lines = (root / MANIFEST).read_text().splitlines()
        assert {line[34:]: line[:32] for line in lines} == expected
        rows = (root / METADATA).read_text(encoding="utf-8-sig").splitlines()[1:]
        assert len(rows) == len(self.wanted)


def _command(exercise: Exercise, name: str) -> list[str | Path]:
    verb, _, option = name.partition(" ")
    if verb == "adopt":
        return [verb, exercise.have, "--collection", NAME, option]
    return ["download", NAME, *(["--update"] if name == "update" else [])]


def _prepare_download(exercise: Exercise) -> None:
    """A new destination, or one in which images, folders and receipts are gone."""
    exercise.wanted = {item.uid for item in exercise.scenario.corpus}
    if exercise.round % 2:
        exercise.fresh_output()
        return
    for item in exercise.some_series():
        folder = exercise.scenario.output / NAME / item.patient.id / item.study.uid / item.uid
        names = [f"{image.uid}.dcm" for image in item.images]
        for name in exercise.random.sample(names, exercise.random.randint(1, len(names))):
            (folder / name).unlink()
        if exercise.random.random() < 0.3:
            exercise.scenario.tree.receipts.path(item.uid).unlink()
            exercise.scenario.tree.reports_stamp.unlink(missing_ok=True)


def _prepare_update(exercise: Exercise) -> None:
    """A destination that is complete, and an archive that has other images of some series."""
    if exercise.round == 1:
        _complete(exercise)
    for item in exercise.some_series():
        counts = {1, 2, 3, 4, 5} - {len(item.images) - 1}  # only another number is a change
        kept = item.images[: exercise.random.choice(sorted(counts))]
        spec = ImageSpec(
            f"{item.uid}.{exercise.round + 100}", item.uid, item.study.uid, item.patient.id
        )
        first = replace(spec, uid=kept[0].uid, seed=exercise.round)
        images = (demo_image(first), *kept[1:], demo_image(replace(spec, seed=exercise.round)))
        exercise.scenario.corpus.put(replace(item, images=images))
    exercise.allow_current()


def _prepare_adopt(exercise: Exercise) -> None:
    """A new destination, and a folder as another program leaves it."""
    exercise.fresh_output()
    chosen = exercise.some_series()
    exercise.wanted = {item.uid for item in chosen}
    layout = exercise.random.choice(sorted(LAYOUTS))
    LAYOUTS[layout](exercise.have, chosen)
    exercise.add_users_files(exercise.have)


def _prepare_reports(exercise: Exercise) -> None:
    """A destination that is complete, without some of its report files."""
    if exercise.round == 1:
        _complete(exercise)
    gone = exercise.random.sample(REPORT_FILES, exercise.random.randint(1, len(REPORT_FILES)))
    for name in gone:
        (exercise.scenario.output / NAME / name).unlink()


def _complete(exercise: Exercise) -> None:
    exercise.fresh_output()
    exercise.wanted = {item.uid for item in exercise.scenario.corpus}
    ended = exercise.run("download", NAME)
    assert ended.code == 0, ended.err


PREPARE: dict[str, Callable[[Exercise], None]] = {
    "download": _prepare_download,
    "update": _prepare_update,
    "adopt --copy": _prepare_adopt,
    "adopt --link": _prepare_adopt,
    "adopt --move": _prepare_adopt,
    "reports": _prepare_reports,
}


@pytest.fixture(name="exercise")
def _exercise(tmp_path: Path) -> Iterator[Exercise]:
    seed = os.environ.get("TCIA_COVID_TEST_SEED") or str(random.randrange(1 << 32))
    print(f"TCIA_COVID_TEST_SEED={seed}")
    corpus = synthetic_corpus(
        NAME, patients=3, series_per_patient=2, images_per_series=4, rows=64, columns=64
    )
    with new_scenario(tmp_path, corpus) as scenario, ForkServer(tmp_path) as commands:
        yield Exercise(scenario, commands, random.Random(seed))


@pytest.mark.parametrize("name", SHARES)
def test_fault_21_kills_at_random_steps_lose_no_image_and_no_users_file(
    exercise: Exercise, name: str
) -> None:
    choose, kills, most_steps = exercise.random, 0, 0
    exercise.allow_current()
    while kills < KILLS * SHARES[name]:
        exercise.round += 1
        PREPARE[name](exercise)
        command = _command(exercise, name)
        for again in range(_KILLS_IN_A_ROW + 1):
            kill_at = choose.randint(1, most_steps) if again < _KILLS_IN_A_ROW and most_steps else 0
            pause = choose.choice([0.0, choose.uniform(0, _LONGEST_PAUSE)])
            ended = exercise.run(*command, kill_at=kill_at, pause=pause)
            if not ended.is_killed:
                break
            kills += 1
            exercise.check_after_kill()
            exercise.add_users_files(exercise.scenario.output)
        most_steps = max(most_steps, ended.steps)
        exercise.check_at_end(command, ended)


def test_fault_21_kills_of_relayout_lose_no_image_and_no_users_file(exercise: Exercise) -> None:
    """The tree gets one layout after the other; each run is killed a few times before it ends."""
    choose, kills, most_steps = exercise.random, 0, 0
    _complete(exercise)
    output = exercise.scenario.output
    expected = Counter(exercise.scenario.expected().values())
    layouts = itertools.cycle(
        ("retriever", "{patient}/{series}/{instance_number}.dcm", "retriever-classic", "uid")
    )
    while kills < KILLS * 0.2:
        exercise.round += 1
        command = ["relayout", output, "--layout", next(layouts), "--no-fsync"]
        for again in range(_KILLS_IN_A_ROW + 1):
            kill_at = choose.randint(1, most_steps) if again < _KILLS_IN_A_ROW and most_steps else 0
            pause = choose.choice([0.0, choose.uniform(0, _LONGEST_PAUSE)])
            ended = exercise.commands.run(*command, kill_at=kill_at, pause=pause)
            if not ended.is_killed:
                break
            kills += 1
            exercise.check_users_files()
            anywhere = Counter(md5_of(path.read_bytes()) for path in _files(output))
            assert {md5: anywhere[md5] for md5 in expected} == expected
        most_steps = max(most_steps, ended.steps)
        assert ended.code == 0, (command, ended.out, ended.err)
        exercise.check_users_files()
        assert Counter(exercise.images().values()) == expected
        assert exercise.scenario.tree.series_in_staging() == set()
        assert outdated_reports(exercise.scenario.tree, by_hash=True) == []
        checked = exercise.commands.run("verify", output)
        assert checked.code == 0, (checked.out, checked.err)
        exercise.add_users_files(output)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
