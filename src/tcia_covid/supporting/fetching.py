"""The story of a collection's supporting files: known, located, brought in."""

from __future__ import annotations

from collections.abc import Sequence

from tcia_covid.archives.site import SiteApi
from tcia_covid.errors import ArchiveError
from tcia_covid.events import Emit, discard
from tcia_covid.http import Client
from tcia_covid.registry import Collection
from tcia_covid.store import Tree
from tcia_covid.store.disk import explained
from tcia_covid.store.locks import Lock
from tcia_covid.supporting.intake import Intake, failure_of
from tcia_covid.supporting.result import SupportingResult
from tcia_covid.supporting.wanted import Refused, Wanted, located, registered


def fetch_supporting(
    collection: Collection,
    tree: Tree,
    client: Client,
    site: SiteApi,
    *,
    update: bool = False,
    accept_listed: bool = False,
    emit: Emit = discard,
) -> SupportingResult:
    """Have the supporting files of a collection stand in its folder `supporting`.

    What stands as its receipt says is not asked for. The site is asked only where a file that
    the registry knows has no address and no receipt.

    Args:
        collection: whose files.
        tree: its folder; has been prepared.
        client: for the files.
        site: TCIA's site.
        update: ask for everything anew.
        accept_listed: take a file that is not what is on record, too.
        emit: hears of what is worth a line.

    Raises:
        HeldError: another run is at it.
        DestinationError: the disk.
        TciaCovidError: the run is to end.

    Errors about single files are in the result.
    """
    result = SupportingResult(collection.name)
    lock = tree.state / "locks" / "supporting.lock"
    with explained(str(tree.root)), Lock(lock, f"supporting files of {collection.name}"):
        files = Intake(tree, client, emit, accept_listed=accept_listed)
        known = registered(collection)
        for one in known:
            if one.url is not None:
                files.bring(one, result, update=update)
        if update or files.is_owed or _is_lacking(known, files):
            _bring_listed(collection, known, site, files, result, update=update)
            files.note_owed(owed=bool(result.failures))
        else:
            files.keep_listed(result)
    return result


def _is_lacking(known: Sequence[Wanted], files: Intake) -> bool:
    """Whether only the site can tell where a file is, or whether there are any."""
    if files.is_harmed or not (known or files.has_any):
        return True
    return any(one.url is None and not files.stands(one.key) for one in known)


def _bring_listed(
    collection: Collection,
    known: Sequence[Wanted],
    site: SiteApi,
    files: Intake,
    result: SupportingResult,
    *,
    update: bool,
) -> None:
    """Bring what only the site knows where it is."""
    try:
        listed = site.downloads(collection.slug) if collection.slug else []
    except ArchiveError as error:
        for one in known:
            if one.url is None and not files.stands(one.key):
                result.failures.append(failure_of(one, error))
        files.keep_listed(result)
        return
    result.notices += [
        f"'{one.title}' is an Aspera package, which is not fetched with the supporting files"
        for one in listed
        if one.is_package and collection.is_dicom
    ]
    for found in located(known, listed, site):
        if isinstance(found, Refused):
            result.failures.append(failure_of(found.wanted, found.error))
        else:
            files.bring(found, result, update=update)
