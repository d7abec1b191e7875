"""Citations in every style, and the license text stored with the data."""

from __future__ import annotations

import json
import re

import pytest

from tcia_covid.catalog.citation import STYLES, format_citation, license_text
from tcia_covid.catalog.collections import Collection, Publication, Registry
from tcia_covid.catalog.licenses import License, check_license
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import LicenseRefusedError, UsageError

REGISTRY = load_registry()
COLLECTIONS = [pytest.param(collection, id=collection.name) for collection in REGISTRY]
ENTRY = re.compile(r"@(?P<kind>\w+)\{(?P<key>[^,\s]+),\n(?P<fields>(?:  \w+ = \{.*\},\n)+)\}")


def collection(**facts) -> Collection:
    return Collection(**{"name": "X", "format": "DICOM", "title": "X", **facts})


def found(name: str) -> Collection:
    known = REGISTRY.find(name)
    assert known is not None
    return known


def bibtex(text: str) -> list[tuple[str, str, dict[str, str]]]:
    """Kind, key and fields of each entry; fails on anything that is no entry."""
    assert ENTRY.sub("", text).strip() == ""
    return [
        (
            entry["kind"],
            entry["key"],
            dict(re.findall(r"^  (\w+) = \{(.*)\},$", entry["fields"], re.MULTILINE)),
        )
        for entry in ENTRY.finditer(text)
    ]


def cited(publication: Publication, style: str) -> str:
    return format_citation(collection(citation=publication), Registry(), style)


# Text


def test_text_has_data_then_publication_then_tcia():
    text = format_citation(found("ar"), REGISTRY)
    data, paper, archive = text.split("\n\n")
    assert data.startswith("Data citation:\nDesai, S., Baghal, A.")
    assert paper.startswith("Publication:\nDesai S, Baghal A")
    assert archive.startswith("The Cancer Imaging Archive:\nClark K")
    assert text.endswith("https://doi.org/10.1007/s10278-013-9622-7\n")


@pytest.mark.parametrize("known", COLLECTIONS)
def test_text_gives_every_doi_once(known):
    text = format_citation(known, REGISTRY).lower()
    dois = [p.doi.lower() for p in (known.citation, *known.publications, REGISTRY.tcia)]
    assert [text.count(f"https://doi.org/{doi}") for doi in dois] == [1] * len(dois)


def test_a_collection_without_citation_is_cited_by_title_and_doi():
    text = format_citation(collection(title="Some Lungs", doi="10.7937/some"), Registry())
    assert text == "Data citation:\nSome Lungs [Data set]. https://doi.org/10.7937/some\n"


@pytest.mark.parametrize(
    ("style", "nothing"), [("text", "\n"), ("bibtex", "\n"), ("csl-json", "[]\n")]
)
def test_an_unknown_citation_is_omitted(style, nothing):
    assert format_citation(collection(), Registry(), style) == nothing


# BibTeX


@pytest.mark.parametrize("known", COLLECTIONS)
def test_bibtex_entries_are_well_formed(known):
    text = format_citation(known, REGISTRY, "bibtex")
    entries = bibtex(text)
    assert len(entries) == 2 + len(known.publications)
    assert len({key for _, key, _ in entries}) == len(entries)
    assert [kind for kind, _, _ in entries] == ["misc"] + ["article"] * (len(entries) - 1)
    for kind, _, fields in entries:
        needed = {"author", "title", "year", "doi", "url"} | (
            {"journal"} if kind == "article" else {"howpublished", "note"}
        )
        assert needed <= fields.keys()
        assert all(value.count("{") == value.count("}") for value in fields.values())


def test_bibtex_of_a_data_set():
    kind, key, fields = bibtex(format_citation(found("sbu"), REGISTRY, "bibtex"))[0]
    assert (kind, key) == ("misc", "covid-19-ny-sbu")
    assert fields == {
        "author": "Saltz, J. and Saltz, M. and Prasanna, P. and Moffitt, R. and Hajagos, J. and "
        "Bremer, E. and Balsamo, J. and Kurc, T.",
        "title": "{Stony Brook University COVID-19 Positive Cases}",
        "year": "2021",
        "howpublished": "The Cancer Imaging Archive",
        "note": "Data set, version 1",
        "doi": "10.7937/TCIA.BBAG-2923",
        "url": "https://doi.org/10.7937/TCIA.BBAG-2923",
    }


def test_bibtex_of_an_article():
    kind, key, fields = bibtex(format_citation(found("ricord-1a"), REGISTRY, "bibtex"))[1]
    assert (kind, key) == ("article", "tsai2021")
    assert (fields["journal"], fields["volume"], fields["number"]) == ("Radiology", "299", "1")
    assert fields["pages"] == "E204--E213"
    assert fields["author"].startswith("Tsai, Emily B. and Simpson, Scott and ")


def test_bibtex_keys_are_the_same_every_time():
    keys = [key for _, key, _ in bibtex(format_citation(found("ct-images"), REGISTRY, "bibtex"))]
    assert keys == ["ct-images-in-covid-19", "harmon2020", "kassin2021", "clark2013"]


def test_bibtex_keys_of_one_author_and_year_differ():
    paper = Publication(text="t", authors=("Doe, J.",), year=2020, title="T", container="J")
    text = format_citation(collection(publications=(paper, paper, paper)), Registry(), "bibtex")
    assert [key for _, key, _ in bibtex(text)] == ["doe2020", "doe2020-2", "doe2020-3"]


def test_bibtex_marks_an_incomplete_list_of_authors():
    fields = bibtex(format_citation(found("ricord-1b"), REGISTRY, "bibtex"))[0][2]
    assert fields["author"].endswith("Kitamura, F. C. and others")


@pytest.mark.parametrize(
    ("title", "escaped"),
    [
        ("R&D 100% a_b $5 #1", r"{R\&D 100\% a\_b \$5 \#1}"),
        ("a\\b", r"{a\textbackslash{}b}"),
        ("open { close }", r"{open \textbraceleft{} close \textbraceright{}}"),
        ("~ ^", r"{\textasciitilde{} \textasciicircum{}}"),
        ("two\nlines", "{two lines}"),
        ("Größe", "{Größe}"),
    ],
)
def test_bibtex_escapes_tex_commands(title, escaped):
    text = cited(Publication(text="t", title=title), "bibtex")
    assert bibtex(text)[0][2]["title"] == escaped


def test_bibtex_keeps_a_group_of_authors_together():
    text = cited(Publication(text="t", title="T", authors=("Doe, J.", "RSNA and STR")), "bibtex")
    assert bibtex(text)[0][2]["author"] == "Doe, J. and {RSNA and STR}"


def test_bibtex_does_not_escape_links():
    text = cited(Publication(text="t", title="T", doi="10.1234/a_b%c"), "bibtex")
    fields = bibtex(text)[0][2]
    assert fields["doi"] == "10.1234/a_b%c"
    assert fields["url"] == "https://doi.org/10.1234/a_b%c"


def test_bibtex_of_a_plain_text_citation():
    text = cited(Publication(text="Doe J & Roe R (2024) Lungs"), "bibtex")
    assert bibtex(text) == [("misc", "x", {"note": r"Doe J \& Roe R (2024) Lungs"})]


# CSL-JSON


@pytest.mark.parametrize("known", COLLECTIONS)
def test_csl_json_is_a_list_of_items(known):
    items = json.loads(format_citation(known, REGISTRY, "csl-json"))
    assert [item["type"] for item in items] == ["dataset"] + ["article-journal"] * (len(items) - 1)
    assert len({item["id"] for item in items}) == len(items) == 2 + len(known.publications)
    assert all({"title", "author", "issued", "DOI", "URL"} <= item.keys() for item in items)


def test_csl_json_of_a_data_set():
    item = json.loads(format_citation(found("sbu"), REGISTRY, "csl-json"))[0]
    assert item["author"][0] == {"family": "Saltz", "given": "J."}
    assert item["issued"] == {"date-parts": [[2021]]}
    assert (item["publisher"], item["version"]) == ("The Cancer Imaging Archive", "1")


def test_csl_json_marks_an_incomplete_list_of_authors():
    item = json.loads(format_citation(found("ricord-1c"), REGISTRY, "csl-json"))[0]
    assert item["author"][-1] == {"literal": "others"}


def test_csl_json_of_a_plain_text_citation():
    assert json.loads(cited(Publication(text="Doe J (2024)"), "csl-json")) == [
        {"id": "x", "type": "dataset", "title": "Doe J (2024)"}
    ]


def test_an_unknown_style_is_refused_with_the_known_styles():
    with pytest.raises(UsageError, match="no citation style 'ris'") as caught:
        format_citation(found("ar"), REGISTRY, "ris")
    assert all(style in caught.value.hint for style in STYLES)


# License text


@pytest.mark.parametrize("known", COLLECTIONS)
def test_the_license_text_has_terms_citation_and_policy(known):
    text = license_text(known)
    flat = " ".join(text.split())
    assert text.startswith(f"{known.name}\n")
    for needed in (
        known.title,
        f"License: {known.license.name}",
        known.license.url,
        known.citation.text,
        "https://www.cancerimagingarchive.net/data-usage-policies-and-restrictions/",
        known.page,
    ):
        assert needed in flat
    assert text.endswith("/\n")


def test_the_license_text_says_what_each_license_permits():
    assert "even commercially" in license_text(found("ar")).replace("\n", " ")
    assert "not for commercial purposes" in license_text(found("ricord-1c")).replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("CC BY 4.0", "CC BY 4.0 (commercial use allowed)"),
        (
            "Creative Commons Attribution-NonCommercial 3.0 Unported License",
            "CC BY-NC 3.0 (no commercial use)",
        ),
        ("CC BY-NC-SA 4.0", "CC BY-NC-SA 4.0 (no commercial use)"),
        ("TCIA No Commercial License", "TCIA No Commercial License (no commercial use)"),
        ("TCIA Restricted", "TCIA Restricted"),
        ("Encoded Terms", "Encoded Terms"),
    ],
)
def test_what_a_license_permits_is_known_only_if_its_name_says_so(name, shown):
    assert str(License.named(name, "https://l")) == f"{shown}, https://l"


def test_only_a_license_that_forbids_commercial_use_is_refused():
    check_license("X", "TCIA Restricted", commercial_use=True)
    with pytest.raises(LicenseRefusedError, match="forbids commercial use"):
        check_license("X", "TCIA No Commercial License", commercial_use=True)


@pytest.mark.parametrize(("commercial", "word"), [(True, "permits"), (False, "forbids")])
def test_the_text_of_an_unknown_license_states_only_what_the_registry_does(commercial, word):
    text = license_text(collection(license=License("Own Terms", commercial)))
    assert f"The license {word} commercial use; its own text has all conditions." in text


def test_the_license_text_states_that_a_license_is_not_on_record():
    text = license_text(collection())
    assert "License: not on record." in text
    assert "Cite the data as the collection's page asks." in text


def test_no_line_of_the_license_text_is_wider_than_a_terminal():
    lines = license_text(found("ricord-1a")).splitlines()
    assert max(len(line) for line in lines) <= 88
