"""Everything a run can be told, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tcia_covid.archives.nbia.address import DEFAULT_URL
from tcia_covid.selection.shards import Share
from tcia_covid.settings import HttpSettings

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
    nbia_url: str = DEFAULT_URL
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
    """Refuse collections whose licence forbids it."""
    supporting: bool = False
    """Fetch clinical tables, annotations and manifests, too."""
    supporting_only: bool = False
    """Fetch these and no images."""
    share: Share | None = None
    durable: bool = True
    """Force data to the disk before a series counts as complete."""
