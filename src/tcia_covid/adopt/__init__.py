"""Folders of DICOM files that people already have: proved, and taken into the layout."""

from tcia_covid.adopt.folder import adopt
from tcia_covid.adopt.result import AdoptResult, Mode, document

__all__ = ["AdoptResult", "Mode", "adopt", "document"]
