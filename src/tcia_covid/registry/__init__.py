"""What is known of the collections without asking an archive: `collections.yaml` as values."""

from tcia_covid.registry.facts import (
    AsperaPlace,
    Collection,
    IdcPlace,
    Licence,
    Publication,
    Registry,
    SupportingFile,
)
from tcia_covid.registry.load import load_registry, shipped_file

__all__ = [
    "AsperaPlace",
    "Collection",
    "IdcPlace",
    "Licence",
    "Publication",
    "Registry",
    "SupportingFile",
    "load_registry",
    "shipped_file",
]
