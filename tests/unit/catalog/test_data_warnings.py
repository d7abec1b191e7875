"""Warnings about the data, counted from the catalog."""

from __future__ import annotations

import pytest

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.data_warnings import data_warnings, missing_values
from tests.unit.factories import series

EXPECTED = {
    "COVID-19-AR": [
        "26 of 26 CR series are MONOCHROME1",
        "2 of 236 DX series are MONOCHROME1",
        "27 of 199 CT series are secondary captures",
        "44 of 199 CT series have fewer than 10 images",
    ],
    "COVID-19-NY-SBU": [
        "7 of 7 OT series are secondary captures",
        "2 of 20 NM series are secondary captures",
        "2 of 12 PT series are secondary captures",
        "7 of 7 OT series are in color (RGB).",
        "2 of 12 PT series are in color (RGB).",
        "1 of 1 SR series have no pixels.",
        "649 of 3,730 CT series have fewer than 10 images",
    ],
    "MIDRC-RICORD-1A": [
        "105 of 229 series (46 %) are compressed as JPEG Lossless",
        "17 of 229 CT series have fewer than 10 images",
    ],
    "MIDRC-RICORD-1B": ["30 of 120 series (25 %) are compressed as JPEG Lossless"],
    "MIDRC-RICORD-1C": [
        "1,165 of 1,241 series (94 %) are compressed as JPEG Lossless: to decode",
        "247 of 720 CR series are MONOCHROME1",
    ],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_catalog_warns_of_what_it_records(name: str) -> None:
    warnings = data_warnings(series_catalog.load(name))
    assert len(warnings) == len(EXPECTED[name])
    for warning, expected in zip(warnings, EXPECTED[name], strict=True):
        assert warning.startswith(expected)


def test_packages_that_decode_are_named() -> None:
    warning = data_warnings(series_catalog.load("MIDRC-RICORD-1C"))[0]
    assert "pydicom needs pylibjpeg with pylibjpeg-libjpeg, or gdcm (python-gdcm)" in warning


def test_columns_with_empty_values_are_counted() -> None:
    assert missing_values(series_catalog.load("COVID-19-AR")) == [
        "63 of 461 series have no BodyPartExamined: a filter by it leaves them out.",
        "4 of 461 series have no PatientAge: a filter by it leaves them out.",
        "39 of 461 series have no SeriesDescription: a filter by it leaves them out.",
    ]


def test_nothing_is_reported_about_unrecorded_values() -> None:
    assert data_warnings([]) == []
    assert data_warnings([series("1.2", transfer_syntax="1.2.840.10008.1.2.1")]) == []


def test_each_encoding_of_a_mixed_series_is_named() -> None:
    mixed = series("1.2", transfer_syntax="1.2.840.10008.1.2.4.80,1.2.840.10008.1.2.4.91")
    both = " ".join(data_warnings([mixed]))
    assert "JPEG-LS Lossless" in both
    assert "pylibjpeg-openjpeg" in both
