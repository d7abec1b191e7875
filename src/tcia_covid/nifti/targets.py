"""Which requests are for packages, and which cannot be; cheap to import: every download asks."""

from __future__ import annotations

from tcia_covid.errors import LicenceRefusedError, UsageError
from tcia_covid.registry import Collection, Registry
from tcia_covid.request import Request
from tcia_covid.selection.filters import Filters


def in_packages(request: Request, registry: Registry) -> Collection | None:
    """The one collection that a request names, if it is published as Aspera packages."""
    found = [registry.find(word) for word in request.targets]
    if len(found) != 1 or request.carts or found[0] is None:
        return None
    return found[0] if not found[0].is_dicom and found[0].aspera else None


def refuse(collection: Collection, request: Request) -> None:
    """Refuse what cannot be done with packages, and what the licence forbids.

    Raises:
        RequestError: it is asked for.
    """
    if request.filters != Filters() or request.options.share is not None:
        raise UsageError(
            f"{collection.name} comes in whole packages: filters and shards choose DICOM series",
            hint="leave the filters out",
        )
    licence = collection.licence
    if request.options.commercial_use and licence is not None and not licence.commercial_use:
        raise LicenceRefusedError(
            f"the licence of {collection.name} ({licence.name}) forbids commercial use"
        )
