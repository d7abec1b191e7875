"""What this program wants to know of a DICOM file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Header:
    """The identity of one image, from its own header; the three UIDs obey the grammar."""

    sop: str
    """SOPInstanceUID."""
    study: str
    """StudyInstanceUID."""
    series: str
    """SeriesInstanceUID."""
    patient: str
    """PatientID, without padding; empty where the file has none."""
    modality: str
    """Empty where the file has none."""
    transfer_syntax: str
    """TransferSyntaxUID: how the image is encoded."""
