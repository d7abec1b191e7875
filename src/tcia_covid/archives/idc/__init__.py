"""NCI's Imaging Data Commons, through the plain S3 interface of its public buckets."""

from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.archives.idc.hosts import DEFAULT_HOSTS

__all__ = ["DEFAULT_HOSTS", "IdcArchive"]
