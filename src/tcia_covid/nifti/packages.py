"""Finding the links to a collection's packages: at run time, from its page, never made up."""

from __future__ import annotations

from tcia_covid.archives.site import SiteApi, SiteDownload
from tcia_covid.errors import NotAvailableError
from tcia_covid.faspex import Package
from tcia_covid.registry import Collection


def find_packages(collection: Collection, site: SiteApi) -> list[Package]:
    """The Aspera packages that the page of a collection links to, in the page's order.

    Raises:
        NotAvailableError: the site does not have the collection, or its page has no such link.
        ArchiveError: no usable answer.
    """
    listed = site.downloads(collection.slug) if collection.slug else []
    packages = {one.url: _package(one) for one in listed if one.url and one.is_package}
    if not packages:
        raise NotAvailableError(
            f"the page of {collection.name} links to no Aspera package",
            hint=f"look at it: {collection.page or 'www.cancerimagingarchive.net'}",
        )
    return list(packages.values())


def _package(download: SiteDownload) -> Package:
    title = download.title or f"package {download.id}"
    return Package(str(download.id), title, download.url or "", download.size)
