"""`LICENSE.txt` and `CITATION.bib`: the terms of a collection, and what to cite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tcia_covid.citation import cite, licence_text
from tcia_covid.model import Series
from tcia_covid.registry import Collection, Licence, Registry
from tcia_covid.registry.names import DOI, bare_doi

LICENCE = "LICENSE.txt"
CITATION = "CITATION.bib"


@dataclass(frozen=True, slots=True, order=True)
class Terms:
    """Under which terms a series was published, as the archive says it; empty where it does not."""

    licence: str
    licence_url: str
    data_url: str
    third_party: bool

    @classmethod
    def of(cls, series: Series) -> Terms:
        """The terms of one series."""
        return cls(
            series.licence or "",
            series.licence_url or "",
            series.data_url or "",
            series.third_party,
        )


def licence(collection: Collection, terms: Iterable[Terms]) -> bytes:
    """The licence file; analysis results have a paragraph of their own."""
    text = licence_text(collection)
    own = sorted(one for one in set(terms) if one.third_party)
    if own:
        lines = [_line(one) for one in own]
        text += (
            "\nSeries with YES under '3rd Party Analysis' in metadata.csv are somebody's analysis\n"
            "results, with a licence and a citation of their own:\n" + "".join(lines)
        )
    return text.encode()


def citation(collection: Collection, registry: Registry) -> bytes:
    """The citation file, in BibTeX."""
    return cite(collection, registry, "bibtex").encode()


def unregistered(name: str, terms: Counter[Terms]) -> Collection:
    """A collection that no registry has, as far as its series tell.

    Args:
        name: as the archive spells it.
        terms: how many series are under which terms.
    """
    original = Counter({one: n for one, n in terms.items() if not one.third_party})
    common = max(original or terms, key=lambda one: (terms[one], one), default=None)
    if common is None:
        return Collection(name=name, format="DICOM", title=name)
    doi = bare_doi(common.data_url)
    return Collection(
        name=name,
        format="DICOM",
        title=name,
        licence=_licence(common),
        doi=doi if DOI.fullmatch(doi) else None,
        page=None if DOI.fullmatch(doi) else common.data_url or None,
    )


def _licence(terms: Terms) -> Licence | None:
    if not terms.licence:
        return None
    words = terms.licence.casefold()
    free = "noncommercial" not in words.replace("-", "") and "-nc" not in words.replace(" ", "-")
    return Licence(terms.licence, commercial_use=free, url=terms.licence_url or None)


def _line(terms: Terms) -> str:
    parts = (terms.licence, terms.licence_url, terms.data_url)
    return f"  {' '.join(part for part in parts if part) or 'not on record'}\n"
