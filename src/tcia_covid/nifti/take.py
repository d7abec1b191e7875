"""The story of taking volumes in: have each patient taken in, count."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from tcia_covid.events import Emit, discard
from tcia_covid.model import ADOPTED
from tcia_covid.nifti.finding import Finds
from tcia_covid.nifti.intake import Intake, Taken
from tcia_covid.nifti.placing import Mode
from tcia_covid.nifti.published import compare_standing
from tcia_covid.nifti.result import VolumeAdoption
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.stop import Stop

_AHEAD = 4
"""Patients a thread that may wait for it."""


def take_in(
    finds: Finds,
    tree: VolumeTree,
    *,
    mode: Mode = "link",
    source: str = ADOPTED,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: Stop | None = None,
) -> VolumeAdoption:
    """Take volumes into a collection's folder, as far as they are sound.

    Each is read to its end: gzip's CRC and length, the NIfTI-1 header, the hash that a `.sums`
    file beside it gives. What stands is held against these hashes, too. No file is changed,
    except that `move` removes a patient's files once the patient stands.

    Args:
        finds: the files, and what is published of them.
        tree: where they belong; has been prepared.
        mode: how they get there.
        source: what receipts call their origin.
        jobs: threads; by default as many as there are processors, four at most.
        emit: hears of patients as they are read and finished.
        stop: ends it early; what was committed stays.

    Raises:
        DestinationError: the tree cannot be written.
        TciaCovidError: `stop` was set.
    """
    stop = stop or Stop()
    intake = Intake(finds, tree, mode, source, emit, stop)
    result = VolumeAdoption(unfit=list(finds.unfit))
    refuted = compare_standing(finds.sums, tree)
    with closing(_in_turn(intake, jobs or min(4, os.cpu_count() or 1), stop)) as taken:
        for one in taken:
            _count(result, one)
    lacking = finds.sums.files - tree.standing_files()
    result.refuted = sorted(lacking & refuted)
    result.missing = sorted(lacking - refuted)
    return result


def _in_turn(intake: Intake, jobs: int, stop: Stop) -> Generator[Taken, None, None]:
    """Have threads take the patients in, a few ahead of whoever counts them."""
    waiting: list[Future[Taken]] = []
    with ThreadPoolExecutor(jobs, thread_name_prefix="volumes") as pool:
        try:
            for names in intake.subjects():
                stop.check()
                waiting.append(pool.submit(intake.take, names))
                if len(waiting) >= _AHEAD * jobs:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def _count(result: VolumeAdoption, taken: Taken) -> None:
    result.patients_found += 1
    result.volumes_found += taken.found
    result.volumes_there += len(taken.there)
    result.unfit += taken.unfit
    result.not_removed += taken.not_removed
    result.lost += taken.lost
    if taken.failure is not None:
        result.failures.append(taken.failure)
        return
    result.patients_adopted += bool(taken.brought)
    result.patients_there += bool(taken.there) and not taken.brought
    result.volumes_adopted += len(taken.brought)
    result.size += sum(volume.size for volume, _ in taken.brought)
    result.ways.update(way for _, way in taken.brought)
    result.proved += taken.proved
