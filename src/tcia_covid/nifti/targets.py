"""Which requests are for packages of volumes; cheap to import, for every download asks."""

from __future__ import annotations

from tcia_covid.options import Request
from tcia_covid.registry import Collection, Registry


def in_packages(request: Request, registry: Registry) -> Collection | None:
    """The one collection that a request names, if it is published as Aspera packages."""
    found = [registry.find(word) for word in request.targets]
    if len(found) != 1 or request.carts or found[0] is None:
        return None
    return found[0] if not found[0].is_dicom and found[0].aspera else None
