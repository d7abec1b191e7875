"""TCIA's site API: what a collection's page offers for download, and where it is."""

from tcia_covid.archives.site.api import DEFAULT_URL, SiteApi
from tcia_covid.archives.site.records import SiteDownload

__all__ = ["DEFAULT_URL", "SiteApi", "SiteDownload"]
