"""What is asked for, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.errors import UsageError
from tcia_covid.core.settings import DEFAULT_NBIA_URL, DEFAULT_OUTPUT, HttpSettings
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.shards import Shard

Source = Literal["auto", "nbia", "idc"]
SOURCES: tuple[Source, ...] = ("auto", "nbia", "idc")
DEFAULT_SITE = "https://cancerimagingarchive.net"
DEFAULT_JOBS = 8


@dataclass(frozen=True, slots=True)
class Options:
    """How a run goes about its work."""

    jobs: int = DEFAULT_JOBS
    """Series to receive at once from NBIA. A third more are under way: they are on their way to the
    disk, or come from IDC, which is asked for twice as many images at once."""
    source: Source = "auto"
    layout: str = "uid"
    """`uid`, `descriptive`, or a template (see `store.layout`)."""
    http: HttpSettings = field(default_factory=HttpSettings)
    nbia_url: str = DEFAULT_NBIA_URL
    idc_url: str | None = None
    """`aws`, `gcs`, or the URL of another S3 endpoint; None for AWS, then Google."""
    site_url: str = DEFAULT_SITE
    """TCIA's site, for what is not in the archives."""
    registry: tuple[str, ...] = ()
    """Registry files added to the shipped one."""
    update: bool = False
    """Fetch series that changed in the archive anew."""
    accept_listed: bool = False
    """Take the archive's list as right although more was expected."""
    commercial_use: bool = False
    """Refuse collections whose license forbids it."""
    supporting: bool = False
    """Fetch clinical tables, annotations and manifests, too."""
    supporting_only: bool = False
    """Fetch these and no images."""
    share: Shard | None = None
    durable: bool = True
    """Force data to the disk before a series counts as complete."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, and how."""

    targets: tuple[str, ...]
    output: str = DEFAULT_OUTPUT
    carts: tuple[str, ...] = ()
    """Names of carts shared on NBIA's page, whose series are targets, too."""
    filters: Filters = field(default_factory=Filters)
    options: Options = field(default_factory=Options)


def package_collection(request: Request, registry: Registry) -> Collection | None:
    """The one collection that a request names, if it is published as Aspera packages."""
    found = [registry.find(word) for word in request.targets]
    if len(found) != 1 or request.carts or found[0] is None:
        return None
    return found[0] if not found[0].is_dicom and found[0].aspera else None


def check_package_request(collection: Collection, request: Request) -> None:
    """Refuse what cannot be done with packages, and what the license forbids.

    Raises:
        RequestError: it is asked for.
    """
    if request.filters != Filters() or request.options.share is not None:
        raise UsageError(
            f"{collection.name} comes in whole packages: filters and shards choose DICOM series",
            hint="leave the filters out",
        )
    collection.check_license(commercial_use=request.options.commercial_use)
