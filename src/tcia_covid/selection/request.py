"""Requests: targets, filters and options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.licenses import check_license
from tcia_covid.core.errors import UsageError
from tcia_covid.core.files import check_working_folder
from tcia_covid.core.safe_names import DEFAULT_OUTPUT
from tcia_covid.http.settings import DEFAULT_NBIA_URL, HttpSettings
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.manifests.model import Manifest
from tcia_covid.selection.shards import Shard

Source = Literal["auto", "nbia", "idc"]
DEFAULT_SITE = "https://cancerimagingarchive.net"
DEFAULT_JOBS = 8


@dataclass(frozen=True, slots=True)
class Options:
    """How a run works."""

    jobs: int = DEFAULT_JOBS
    """Series to receive at once from NBIA. A third more are being written or come from IDC, which
    gets twice as many requests at once."""
    processes: int | None = None
    """Processes that download; None to decide by processors and images. They divide `jobs`."""
    source: Source = "auto"
    layout: str = "uid"
    """`uid`, `descriptive`, or a template (see `store.layout`)."""
    http: HttpSettings = field(default_factory=HttpSettings)
    nbia_url: str = DEFAULT_NBIA_URL
    idc_url: str | None = None
    """`aws`, `gcs`, or the URL of another S3 endpoint; None for AWS, then Google."""
    site_url: str = DEFAULT_SITE
    """TCIA's web site, for what is not in the archives."""
    registry: tuple[str, ...] = ()
    """Registry files added to the shipped one."""
    frozen: bool = False
    """Download only the versions that lock files name."""
    update: bool = False
    """Re-download series that changed in the archive."""
    accept_listed: bool = False
    """Accept the archive's list even if more series were expected."""
    commercial_use: bool = False
    """Refuse collections whose license forbids commercial use."""
    supporting: bool = False
    """Download clinical tables, annotations and manifests, too."""
    supporting_only: bool = False
    """Download these and no images."""
    shard: Shard | None = None
    space_check: bool = True
    """Refuse to start where the disk has too little free space."""
    keep_formulas: bool = False
    """Write values to CSV files that a spreadsheet would evaluate as they are."""
    durable: bool = True
    """Force data to the disk before a series counts as complete."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a user requests.

    Raises:
        UsageError: `output` is relative to a working directory that no longer exists.
    """

    targets: tuple[str, ...]
    output: str = DEFAULT_OUTPUT
    manifests: tuple[Manifest, ...] = ()
    """Further targets that are not files."""
    carts: tuple[str, ...] = ()
    """Names of shared carts of NBIA, whose series are targets, too."""
    filters: Filters = field(default_factory=Filters)
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        check_working_folder(self.output)


def package_collection(request: Request, registry: Registry) -> Collection | None:
    """The collection of a request that names one published as Aspera packages, or None."""
    if len(request.targets) != 1 or request.carts or request.manifests:
        return None
    collection = registry.find(request.targets[0])
    return collection if collection and collection.aspera and not collection.is_dicom else None


def check_package_request(collection: Collection, request: Request) -> None:
    """Refuse filters and shards of packages, and what the license forbids.

    Raises:
        RequestError: the request has one of these.
    """
    if request.options.frozen:
        raise UsageError(
            f"{collection.name} is published in whole packages: lock files name DICOM series",
            hint="omit --frozen",
        )
    if request.filters != Filters() or request.options.shard is not None:
        raise UsageError(
            f"{collection.name} is published in whole packages: filters and shards select series",
            hint="omit the filters",
        )
    check_license(
        collection.name, collection.license, commercial_use=request.options.commercial_use
    )
