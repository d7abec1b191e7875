"""TCIA's NBIA server, through its REST API v4 (or v1)."""

from tcia_covid.archives.nbia.archive import DEFAULT_URL, NbiaArchive

__all__ = ["DEFAULT_URL", "NbiaArchive"]
