"""Adopting a folder of volumes: taken in, compared with the registry, reported."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import DestinationError, RequestError, TciaCovidError, UsageError
from tcia_covid.core.events import Emit, Notice, discard
from tcia_covid.core.models import ADOPTED
from tcia_covid.core.parallel import parallel_map
from tcia_covid.nifti.install import InstalledPatient, Installer, Mode
from tcia_covid.nifti.result import Inventory, VolumeAdoption
from tcia_covid.nifti.scan import ScanResult, find_volumes
from tcia_covid.nifti.tree import VolumeTree, compare_installed
from tcia_covid.store.disk import Disk
from tcia_covid.store.reports.write import owed_notice, write_owed_reports
from tcia_covid.store.tree import is_in_tree


def adopt_volumes(
    directory: Path,
    output: Path,
    collection: Collection,
    registry: Registry,
    *,
    mode: Mode = "link",
    durable: bool = True,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> VolumeAdoption:
    """Take the volumes of any folder into the layout, where they prove sound.

    Args:
        directory: however the files came into it; its folders mean nothing.
        output: the folder that holds the collections' folders.
        collection: whose volumes these are.
        registry: for TCIA's own citation.
        mode: `link` makes hard links, else reflinks, else copies; `copy` makes no hard links;
            `move` removes a patient's files once the patient stands in the layout.
        durable: force data to the disk before a patient counts as complete.
        jobs: threads.
        emit: hears of patients and bytes.
        stop: ends it early; what was committed stays.

    Raises:
        RequestError: the folder is none, has no volume of the collection, or is one of this
            program's own.
        DestinationError: the output cannot be used.
        InterruptedRunError: `stop` was set.
    """
    tree = VolumeTree(output, collection, Disk(durable=durable), emit)
    _refuse_own(directory, tree)
    finds = find_volumes(directory, tree.pattern, skipped=tree.root)
    if not finds.volumes and not tree.has_moved_from(directory):
        raise RequestError(
            f"there is no volume of {collection.name} in {directory}",
            hint=f"they are called {tree.pattern.text}",
        )
    if mode == "move":
        _refuse_emptying(directory, finds)
    stop = stop or CancelToken()

    def report() -> None:
        if not write_owed_reports(tree, collection, registry, stop):
            emit(Notice(owed_notice(tree)))

    tree.prepare()
    try:
        result = install_volumes(finds, tree, mode=mode, jobs=jobs, emit=emit, stop=stop)
    except DestinationError:
        raise
    except TciaCovidError:
        with contextlib.suppress(DestinationError):
            report()
        raise
    report()
    result.inventory = Inventory.of(tree)
    result.notices += tree.notices
    return result


def _refuse_own(directory: Path, tree: VolumeTree) -> None:
    """Refuse what stands in the layout already.

    Raises:
        RequestError: it does.
    """
    root = Path(os.path.realpath(tree.root))
    if Path(os.path.realpath(directory)).is_relative_to(root):
        raise RequestError(
            f"{directory} is this program's own folder of {tree.collection.name}",
            hint="'verify' checks it, 'download' completes it",
        )


def _refuse_emptying(directory: Path, finds: ScanResult) -> None:
    """Refuse to move files out of a folder of this program.

    Raises:
        UsageError: it is asked for.
    """
    if finds.ours or is_in_tree(directory.resolve()):
        raise UsageError(
            f"{directory} has a folder that this program keeps receipts of: moving its files away "
            "would leave these without files",
            hint="use --link or --copy",
        )


def install_volumes(
    finds: ScanResult,
    tree: VolumeTree,
    *,
    mode: Mode = "link",
    source: str = ADOPTED,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
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
    stop = stop or CancelToken()
    intake = Installer(finds, tree, mode, source, emit, stop)
    result = VolumeAdoption(unfit=list(finds.unfit))
    refuted = compare_installed(finds.sums, tree)
    threads = jobs or min(4, os.cpu_count() or 1)
    for _, patient in parallel_map(intake.take, intake.subjects(), threads, stop):
        _count(result, patient)
    lacking = finds.sums.files - tree.standing_files()
    result.refuted = sorted(lacking & refuted)
    result.missing = sorted(lacking - refuted)
    return result


def _count(result: VolumeAdoption, taken: InstalledPatient) -> None:
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
