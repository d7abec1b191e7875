"""Adopting a folder of volumes: taken in, compared with the registry, reported."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tcia_covid.errors import DestinationError, RequestError, TciaCovidError, UsageError
from tcia_covid.events import Emit, Notice, discard
from tcia_covid.nifti.finding import Finds, find_volumes
from tcia_covid.nifti.placing import Mode
from tcia_covid.nifti.result import Standing, VolumeAdoption
from tcia_covid.nifti.take import take_in
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.registry import Collection, Registry
from tcia_covid.report.write import owed_notice, write_owed_reports
from tcia_covid.stop import Stop
from tcia_covid.store import Disk
from tcia_covid.store.tree import is_in_tree


def adopt(
    directory: Path,
    output: Path,
    collection: Collection,
    registry: Registry,
    *,
    mode: Mode = "link",
    durable: bool = True,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: Stop | None = None,
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
    stop = stop or Stop()

    def report() -> None:
        if not write_owed_reports(tree, collection, registry, stop):
            emit(Notice(owed_notice(tree)))

    tree.prepare()
    try:
        result = take_in(finds, tree, mode=mode, jobs=jobs, emit=emit, stop=stop)
    except DestinationError:
        raise
    except TciaCovidError:
        with contextlib.suppress(DestinationError):
            report()
        raise
    report()
    result.standing = Standing.of(tree)
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


def _refuse_emptying(directory: Path, finds: Finds) -> None:
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
