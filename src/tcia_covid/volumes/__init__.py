"""Reading NIfTI volumes: the header, the gzip stream around it, and the hash of the file."""

from tcia_covid.volumes.volume import Volume, read_volume

__all__ = ["Volume", "read_volume"]
