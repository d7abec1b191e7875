"""Adopting a folder of volumes: install them, compare with the registry, write the reports."""

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
from tcia_covid.nifti.install import InstalledPatient, Installer
from tcia_covid.nifti.result import Inventory, VolumeAdoption
from tcia_covid.nifti.scan import ScanResult, find_volumes
from tcia_covid.nifti.tree import VolumeTree, compare_installed
from tcia_covid.store.disk import Disk
from tcia_covid.store.placement import Mode
from tcia_covid.store.reports.write import outdated_notice, update_reports
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
    """Install the intact volumes of any folder.

    Args:
        directory: the folder; how the files are arranged in it does not matter.
        output: the folder that holds the collections' folders.
        collection: whose volumes these are.
        registry: for TCIA's own citation.
        mode: `link` makes hard links, else reflinks, else copies; `copy` makes no hard links;
            `move` removes a patient's files once the patient is complete.
        durable: force data to the disk before a patient counts as complete.
        jobs: threads.
        emit: receives the progress of patients and bytes.
        stop: ends it early; what was committed stays.

    Raises:
        RequestError: the folder does not exist, has no volume of the collection, or is one of
            this program's own.
        DestinationError: the output cannot be used.
        InterruptedRunError: `stop` was set.
    """
    tree = VolumeTree(output, collection, Disk(durable=durable), emit)
    _refuse_own(directory, tree)
    scanned = find_volumes(directory, tree.pattern, skipped=tree.root)
    if not scanned.volumes and not tree.has_moved_from(directory):
        raise RequestError(
            f"there is no volume of {collection.name} in {directory}",
            hint=f"they are called {tree.pattern.text}",
        )
    if mode == "move":
        _refuse_emptying(directory, scanned)
    stop = stop or CancelToken()

    def report() -> None:
        if not update_reports(tree, collection, registry, stop):
            emit(Notice(outdated_notice(tree)))

    tree.prepare()
    try:
        result = install_volumes(scanned, tree, mode=mode, jobs=jobs, emit=emit, stop=stop)
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
    root = Path(os.path.realpath(tree.root))
    if Path(os.path.realpath(directory)).is_relative_to(root):
        raise RequestError(
            f"{directory} is this program's own folder of {tree.collection.name}",
            hint="'verify' checks it, 'download' completes it",
        )


def _refuse_emptying(directory: Path, scanned: ScanResult) -> None:
    """Refuse to move files out of a folder of this program."""
    if scanned.has_tree or is_in_tree(directory.resolve()):
        raise UsageError(
            f"{directory} has a folder that this program keeps receipts of: moving its files away "
            "would leave these without files",
            hint="use --link or --copy",
        )


def install_volumes(
    scanned: ScanResult,
    tree: VolumeTree,
    *,
    mode: Mode = "link",
    source: str = ADOPTED,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> VolumeAdoption:
    """Install the volumes of a folder that are intact.

    Each is read to its end: gzip's CRC and length, the NIfTI-1 header, the hash in a `.sums` file
    beside it. Installed volumes are compared with these hashes, too. No file is changed, except
    that `move` removes a patient's files once the patient is complete.

    Args:
        scanned: the files, and the published hashes.
        tree: where they belong; has been prepared.
        mode: how they are placed.
        source: recorded as the source of the volumes.
        jobs: threads; by default as many as there are processors, four at most.
        emit: receives patients as they are read and finished.
        stop: ends it early; what was committed stays.

    Raises:
        DestinationError: the tree cannot be written.
        TciaCovidError: `stop` was set.
    """
    stop = stop or CancelToken()
    installer = Installer(scanned, tree, mode, source, emit, stop)
    result = VolumeAdoption(rejected=list(scanned.rejected))
    differing = compare_installed(scanned.sums, tree)
    threads = jobs or min(4, os.cpu_count() or 1)
    for _, patient in parallel_map(installer.install, installer.patients(), threads, stop):
        _count(result, patient)
    absent = scanned.sums.files - tree.intact_files()
    result.mismatched = sorted(absent & differing)
    result.missing = sorted(absent - differing)
    return result


def _count(result: VolumeAdoption, patient: InstalledPatient) -> None:
    result.patients_found += 1
    result.volumes_found += patient.found
    result.volumes_already_complete += len(patient.already_complete)
    result.rejected += patient.rejected
    result.not_removed += patient.not_removed
    result.lost += patient.lost
    if patient.failure is not None:
        result.failures.append(patient.failure)
        return
    result.patients_adopted += bool(patient.placed)
    result.patients_already_complete += bool(patient.already_complete) and not patient.placed
    result.volumes_adopted += len(patient.placed)
    result.size += sum(volume.size for volume, _ in patient.placed)
    result.placed.update(method for _, method in patient.placed)
    result.verified += patient.verified
