"""`LICENSE.txt` and `CITATION.bib`: the terms of a collection, and what to cite."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

from tcia_covid.catalog.citation import format_citation, license_text
from tcia_covid.catalog.collections import DICOM, DOI, Collection, Registry, bare_doi
from tcia_covid.catalog.licenses import License
from tcia_covid.core.models import Series
from tcia_covid.core.plain_text import printable

_ATTRIBUTION = re.compile(
    r"(?:CC BY|Creative Commons Attribution)(?P<nc>[ -]?NC|[ -]Non-?Commercial)?"
    r" (?P<version>\d\.\d)(?: International| Unported)?(?: Licen[cs]e)?",
    re.IGNORECASE,
)
"""How NBIA and IDC spell the two licenses of TCIA's public collections."""
_RESULTS = """\
Series with YES under '3rd Party Analysis' in metadata.csv are somebody's analysis
results, with a license and a citation of their own:"""


@dataclass(frozen=True, slots=True, order=True)
class LicenseTerms:
    """Under which terms a series was published, as the archive says it; empty where it does not."""

    license: str
    license_url: str
    data_url: str
    third_party: bool

    @classmethod
    def of(cls, series: Series) -> LicenseTerms:
        """The terms of one series."""
        return cls(
            printable(series.license or ""),
            printable(series.license_url or ""),
            printable(series.data_url or ""),
            series.third_party,
        )


def license_file(collection: Collection, terms: Set[LicenseTerms]) -> bytes:
    """The license file; what the archive says of single series comes last."""
    original = [one for one in terms if not one.third_party]
    results = [one for one in terms if one.third_party]
    text = license_text(collection)
    if collection.license is None:
        text += _listed("The archive lists the series under:", original)
    return (text + _listed(_RESULTS, results)).encode()


def citation_file(collection: Collection, registry: Registry) -> bytes:
    """The citation file, in BibTeX."""
    return format_citation(collection, registry, "bibtex").encode()


def license_file_unregistered(name: str, terms: Set[LicenseTerms]) -> Collection:
    """A collection that no registry has, as far as the terms of its series tell.

    Nothing is said of it that its series do not agree on.
    """
    name = printable(name)
    original = [one for one in terms if not one.third_party] or list(terms)
    licenses = {(one.license, one.license_url) for one in original}
    dois = {bare_doi(one.data_url) for one in original}
    doi = dois.pop() if len(dois) == 1 else ""
    return Collection(
        name=name,
        format=DICOM,
        title=name,
        license=_creative_commons(*licenses.pop()) if len(licenses) == 1 else None,
        doi=doi if DOI.fullmatch(doi) else None,
    )


def _creative_commons(name: str, url: str) -> License | None:
    """The license by the name that it has in the registry; None for any other."""
    known = _ATTRIBUTION.fullmatch(name.strip())
    if known is None:
        return None
    noncommercial = bool(known["nc"])
    short = f"CC BY{'-NC' if noncommercial else ''} {known['version']}"
    return License(short, commercial_use=not noncommercial, url=url or None)


def _listed(heading: str, terms: list[LicenseTerms]) -> str:
    lines = {_line(one) for one in terms}
    return "\n".join(["", heading, *sorted(lines), ""]) if lines else ""


def _line(terms: LicenseTerms) -> str:
    parts = (terms.license, terms.license_url, terms.data_url)
    return "  " + (" ".join(part for part in parts if part) or "no license on record")
