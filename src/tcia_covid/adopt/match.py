"""Which series of an archive the files are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tcia_covid import catalogue
from tcia_covid.adopt.result import Foreign
from tcia_covid.adopt.scan import Found
from tcia_covid.errors import ArchiveError, NotAvailableError
from tcia_covid.model import Series
from tcia_covid.registry import Collection
from tcia_covid.selection.lists import Lister


@dataclass(slots=True)
class Matches:
    """The series that files were found of."""

    known: list[Series] = field(default_factory=list)
    """As listed."""
    foreign: list[Foreign] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def match(
    found: Mapping[str, Sequence[Found]], collection: Collection | None, lister: Lister | None
) -> Matches:
    """Find the archive's series of these files.

    With a collection that the catalogue has nothing is sent anywhere; without a collection, the
    archive is asked about the series that the catalogue does not know.

    Args:
        found: files by SeriesInstanceUID.
        collection: takes its series alone; None takes all that are known.
        lister: asked about what the catalogue does not have; None to ask nobody.

    Raises:
        ArchiveError: the list of the collection could not be had.
    """
    matches = Matches()
    asked = True
    if collection is not None:
        known = _of_collection(collection, lister)
    else:
        known, asked = _of_any(sorted(found), lister, matches)
    matches.known = [known[uid] for uid in sorted(found) if uid in known]
    matches.foreign = _foreign(found, known, asked=asked)
    return matches


def _of_collection(collection: Collection, lister: Lister | None) -> dict[str, Series]:
    if catalogue.has(collection.name):
        series = catalogue.load(collection.name)
    elif lister is not None:
        series = lister.list_collection(collection.nbia or collection.name)
    else:
        raise NotAvailableError(
            f"the catalogue does not list {collection.name}",
            hint="use --source nbia or auto for it",
        )
    return {one.uid: one for one in series}


def _of_any(
    uids: Sequence[str], lister: Lister | None, matches: Matches
) -> tuple[dict[str, Series], bool]:
    """The known ones among series, and whether all others could be asked about."""
    known = catalogue.find(uids) if uids else {}
    others = [uid for uid in uids if uid not in known]
    if not others or lister is None:
        return known, True
    try:
        listed = lister.list_series(others)
    except ArchiveError as error:
        matches.notices.append(f"series outside the catalogue are left out: {error.message}")
        return known, False
    return known | {one.uid: one for one in listed}, True


def _foreign(
    found: Mapping[str, Sequence[Found]], known: Mapping[str, Series], *, asked: bool
) -> list[Foreign]:
    others = [uid for uid in sorted(found) if uid not in known]
    elsewhere = catalogue.find(others) if others else {}
    foreign = []
    for uid in others:
        files, of = found[uid], elsewhere.get(uid)
        collection = of.collection if of else ""
        foreign.append(Foreign(uid, len(files), files[0].file, collection, asked))
    return foreign
