"""DICOM files: the identity in their header, and whether they are whole."""

from __future__ import annotations

from tcia_covid.dicom.deep import check_file_deep
from tcia_covid.dicom.header import Header
from tcia_covid.dicom.reader import header_of_file, read_header

__all__ = ["Header", "check_file_deep", "header_of_file", "read_header"]
