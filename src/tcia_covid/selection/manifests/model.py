"""What a manifest contains, whatever its format: identifiers by kind, with line numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["series", "study", "patient", "crdc_series_uuid", "address", "word"]
"""Kinds of identifiers in manifests.

`series` and `study` are UIDs of DICOM, `patient` is a PatientID, `crdc_series_uuid` is IDC's UUID
of a series. `address` is the folder of a series in a bucket, such as `s3://idc-open-data/<uuid>`,
without a trailing `/*`. `word` is an entry of a plain list, which does not say what it is: any
TARGET but a file.
"""
KINDS: tuple[Kind, ...] = ("series", "study", "patient", "crdc_series_uuid", "address", "word")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a manifest. Who reads it resolves the identifiers to series."""

    name: str
    """The file or address as given; `standard input` for `-`."""
    format: str
    """The recognized format, for messages: `TCIA manifest`, `CSV`, `s5cmd manifest`, …"""
    identifiers: Mapping[Kind, Mapping[str, int]]
    """Each distinct identifier, with the number (from 1) of the line that first names it."""
    duplicates: int = 0
    """Entries that repeat an earlier one."""
    notices: tuple[str, ...] = ()
    """What the user should know: entries of other kinds that are not series."""
    server: str | None = None
    """`.tcia`: the downloadServerUrl, which is not used."""

    @property
    def series(self) -> tuple[str, ...]:
        """The SeriesInstanceUIDs that it names as such, in its order."""
        return tuple(self.identifiers.get("series", ()))
