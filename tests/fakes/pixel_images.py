"""DICOM images with visible pixels, for thumbnails and reports."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
AXIAL = [1, 0, 0, 0, 1, 0]


def gradient(rows: int = 64, columns: int = 64, low: int = 0, high: int = 1000) -> Any:
    """Pixels that become brighter from left to right."""
    return np.tile(np.linspace(low, high, columns).astype("uint16"), (rows, 1))


def picture(pixels: Any, syntax: str = ExplicitVRLittleEndian, /, **elements: object) -> bytes:
    """A DICOM file: grayscale of 16 bits, unless `elements` say otherwise; None removes one."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    facts: dict[str, object] = {
        "SOPClassUID": CT,
        "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.3",
        "Modality": "CT",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize,
        "HighBit": 8 * pixels.dtype.itemsize - 1,
        "PixelRepresentation": 0,
        "PixelData": pixels.tobytes(),
    }
    for keyword, value in {**facts, **elements}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    output = io.BytesIO()
    dataset.save_as(output, enforce_file_format=True)
    return output.getvalue()
