"""Finding out what a download would do, without doing anything: no folder is made."""

from __future__ import annotations

import contextlib
import errno
import shutil
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from tcia_covid.events import Emit, discard
from tcia_covid.listing import select_offline
from tcia_covid.model import Failure, Series
from tcia_covid.nifti.targets import in_packages
from tcia_covid.plan.values import Amount, GroupPlan, Plan
from tcia_covid.registry import load_registry
from tcia_covid.request import Request
from tcia_covid.selection.resolve import Group
from tcia_covid.space import Begun
from tcia_covid.stop import Stop
from tcia_covid.store import Tree
from tcia_covid.store.disk import explain
from tcia_covid.store.tree import collection_folder

ASSUMED_RATE = 10_000_000
"""Bytes a second that a rough time is reckoned with: what a good connection gets of an archive."""


def plan(request: Request, *, emit: Emit = discard, stop: Stop | None = None) -> Plan:
    """Find out what a download would do; the catalogue is asked before any archive.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
        DestinationError: the output cannot be a folder, for a file is in its way.
    """
    stop = stop or Stop()
    options = request.options
    registry = load_registry(options.registry)
    packages = in_packages(request, registry)
    if packages is not None:
        from tcia_covid.plan.packages import planned  # noqa: PLC0415 - one collection has packages

        group, notices = planned(packages, request)
        return _plan([group], request, notices=notices)
    selected = select_offline(request, registry, stop, emit)
    groups = [_group(one, Path(request.output), update=options.update) for one in selected.groups]
    return _plan(
        groups,
        request,
        failures=selected.failures,
        notices=selected.notices + _changed_notices(groups, update=options.update),
    )


def _plan(
    groups: list[GroupPlan],
    request: Request,
    *,
    notices: list[str],
    failures: Sequence[Failure] = (),
) -> Plan:
    rate = request.options.http.max_rate
    return Plan(
        targets=request.targets,
        output=request.output,
        groups=groups,
        free=_free(Path(request.output)),
        rate=int(min(rate or ASSUMED_RATE, ASSUMED_RATE)) or 1,
        rate_is_assumed=rate is None or rate > ASSUMED_RATE,
        failures=list(failures),
        notices=notices,
    )


def _group(group: Group, output: Path, *, update: bool) -> GroupPlan:
    total = Amount(len(group.series), group.images, group.size)
    planned = GroupPlan(group.name, group.patients, group.studies, total)
    planned.modalities = _modalities(group.series)
    tree = Tree(output / collection_folder(group.name))
    if not tree.state.is_dir():
        return planned
    begun, unsettled = Begun(tree), tree.unsettled()
    for one in group.series:
        receipt = None if one.uid in unsettled else tree.standing(one.uid)
        changed = receipt is not None and receipt.differs_from(one)
        if changed:
            planned.changed.append(one.uid)
        if receipt is not None and not (update and changed):
            planned.there.add(1, one.image_count or len(receipt.images), one.size or receipt.size)
        elif any(there := begun.of(one)):
            planned.partial.add(1, *there)
    return planned


def _modalities(series: Iterable[Series]) -> dict[str, Amount]:
    found: dict[str, Amount] = {}
    for one in series:
        amount = found.setdefault(one.modality or "not recorded", Amount())
        amount.add(1, one.image_count or 0, one.size or 0)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].size, pair[0])))


def _changed_notices(groups: Sequence[GroupPlan], *, update: bool) -> list[str]:
    if update:
        return []
    return [
        f"{len(one.changed)} series of {one.name} changed in the archive since they were fetched: "
        "--update fetches them anew"
        for one in groups
        if one.changed
    ]


def _free(output: Path) -> int | None:
    """Bytes free where `output` is, or would be made.

    Raises:
        DestinationError: it cannot be made, for a file is in its way.
    """
    for place in (output.absolute(), *output.absolute().parents):
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(place.stat().st_mode):
                return shutil.disk_usage(place).free
            raise explain(NotADirectoryError(errno.ENOTDIR, "a file is in its way"), str(output))
    return None
