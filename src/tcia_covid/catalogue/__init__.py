"""The shipped list of every series of the five DICOM collections: what there is, without asking."""

from tcia_covid.catalogue.load import (
    CatalogueEntry,
    CatalogueInfo,
    entry,
    find,
    has,
    info,
    load,
)

__all__ = ["CatalogueEntry", "CatalogueInfo", "entry", "find", "has", "info", "load"]
