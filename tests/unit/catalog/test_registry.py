"""The registry: what ships in it, and how users find a collection."""

from __future__ import annotations

import pytest

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.registry import load_registry

NAMES = [
    "COVID-19-AR",
    "CT Images in COVID-19",
    "MIDRC-RICORD-1A",
    "MIDRC-RICORD-1B",
    "MIDRC-RICORD-1C",
    "COVID-19-NY-SBU",
]
SHA256 = "26fcd9e360f41e8150ff447e79d073b74c27daa8621dcaf7705a6283e8954489"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def found(registry: Registry, name: str) -> Collection:
    collection = registry.find(name)
    assert collection is not None, name
    return collection


# What ships


def test_six_collections_ship_in_the_order_of_the_file(registry):
    assert [collection.name for collection in registry] == NAMES
    assert len(registry) == 6


def test_each_collection_has_a_short_description(registry):
    texts = [collection.about for collection in registry]
    assert all(text and len(text) <= 30 for text in texts)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("COVID-19-AR", (105, 256, 461, 31935, 19_927_664_950)),
        ("MIDRC-RICORD-1A", (110, 120, 229, 31856, 11_675_021_334)),
        ("MIDRC-RICORD-1B", (117, 120, 120, 21220, 8_668_672_674)),
        ("MIDRC-RICORD-1C", (361, 998, 1241, 1257, 12_265_162_106)),
        ("COVID-19-NY-SBU", (1384, 7361, 17950, 562376, 511_477_801_000)),
    ],
)
def test_counts_of_each_dicom_collection(registry, name, counts):
    collection = found(registry, name)
    assert collection.is_dicom
    assert counts == (
        collection.patients,
        collection.studies,
        collection.series,
        collection.images,
        collection.size,
    )


def test_totals_of_the_five_dicom_collections(registry):
    dicom = [collection for collection in registry if collection.is_dicom]
    assert len(dicom) == 5
    assert sum(collection.series or 0 for collection in dicom) == 20_001
    assert sum(collection.images or 0 for collection in dicom) == 648_644
    assert sum(collection.size or 0 for collection in dicom) == 564_014_322_064


def test_the_nifti_collection_is_in_neither_archive(registry):
    nifti = found(registry, "CT Images in COVID-19")
    assert (nifti.format, nifti.is_dicom) == ("NIfTI", False)
    assert (nifti.nbia, nifti.idc) == (None, None)
    assert (nifti.patients, nifti.volumes, nifti.size) == (661, 771, None)
    assert nifti.aspera is not None
    assert nifti.aspera.packages == 2


@pytest.mark.parametrize(
    ("name", "doi", "wiki_pages", "updated"),
    [
        ("COVID-19-AR", "10.7937/TCIA.2020.PY71-5978", (70226443,), "2020-07-15"),
        ("CT Images in COVID-19", "10.7937/TCIA.2020.GQRY-NC81", (70227107,), "2021-05-25"),
        ("MIDRC-RICORD-1A", "10.7937/VTW4-X588", (80969742, 133072661), "2021-01-14"),
        ("MIDRC-RICORD-1B", "10.7937/31V8-4A40", (80969771,), "2021-02-05"),
        ("MIDRC-RICORD-1C", "10.7937/91AH-V663", (70230281,), "2021-01-15"),
        ("COVID-19-NY-SBU", "10.7937/TCIA.BBAG-2923", (89096912,), "2021-08-11"),
    ],
)
def test_identity_of_each_collection(registry, name, doi, wiki_pages, updated):
    collection = found(registry, name)
    slug = name.lower().replace(" ", "-")
    assert (collection.doi, collection.slug) == (doi, slug)
    assert collection.page == f"https://www.cancerimagingarchive.net/collection/{slug}/"
    assert (collection.wiki_pages, collection.updated) == (wiki_pages, updated)
    assert collection.citation is not None
    assert f"https://doi.org/{doi}" in collection.citation.text


@pytest.mark.parametrize("name", NAMES)
def test_only_the_ricord_collections_forbid_commercial_use(registry, name):
    license = found(registry, name).license
    assert license is not None
    assert license.commercial_use is ("RICORD" not in name)
    assert license.name == ("CC BY 4.0" if license.commercial_use else "CC BY-NC 4.0")


def test_nbia_names_are_spelled_as_tcia_spells_the_collections(registry):
    assert all(collection.nbia == collection.name for collection in registry if collection.is_dicom)


def test_idc_buckets_follow_the_license(registry):
    for collection in registry:
        if collection.idc is None:
            continue
        free = collection.license is not None and collection.license.commercial_use
        expected = ("idc-open-data",) * 2 if free else ("idc-open-data-cr", "idc-open-cr")
        assert (collection.idc.bucket, collection.idc.gcs_bucket) == expected
        assert collection.idc.collection_id == collection.name.lower().replace("-", "_")


def test_supporting_files_with_size_and_hash(registry):
    files = {file.file: file for file in found(registry, "MIDRC-RICORD-1C").supporting}
    zipped = files["midrc-ricord-1c-da-other-json.zip"]
    assert (zipped.kind, zipped.size, zipped.sha256) == ("annotations", 180675, SHA256)
    assert "MIDRC-RICORD-1c Clinical Data Jan 13 2021 .xlsx" in files
    wiki_copies = [file for file in files.values() if "wiki." in (file.url or "")]
    assert [file.size for file in wiki_copies] == [2449004]


def test_the_registry_has_only_checked_addresses(registry):
    manifests = [file for c in registry for file in c.supporting if file.kind == "manifest"]
    assert len(manifests) == 5
    assert all(file.url is None and file.basket for file in manifests)


def test_every_collection_has_pitfalls(registry):
    assert all(collection.pitfalls for collection in registry)
    assert all(text.endswith(".") for collection in registry for text in collection.pitfalls)
    assert "MIDRC-RICORD-1C" in " ".join(found(registry, "ricord-1a").pitfalls)


def test_tcia_has_a_citation_of_its_own(registry):
    assert registry.tcia is not None
    assert registry.tcia.doi == "10.1007/s10278-013-9622-7"


# Finding


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("covid-19-ar", "COVID-19-AR"),
        ("  COVID_19_AR ", "COVID-19-AR"),
        ("covid19ar", "COVID-19-AR"),
        ("Covid.19 (AR)", "COVID-19-AR"),
        ("midrc ricord 1a", "MIDRC-RICORD-1A"),
        ("ct-images-in-covid-19", "CT Images in COVID-19"),
        ("CT IMAGES IN COVID-19", "CT Images in COVID-19"),
        ("MIDRC-RICORD-1a", "MIDRC-RICORD-1A"),
        ("ricord-1b", "MIDRC-RICORD-1B"),
        ("SBU", "COVID-19-NY-SBU"),
        ("10.7937/tcia.bbag-2923", "COVID-19-NY-SBU"),
        ("doi:10.7937/VTW4-X588", "MIDRC-RICORD-1A"),
        ("DOI: 10.7937/VTW4-X588", "MIDRC-RICORD-1A"),
        ("https://doi.org/10.7937/91ah-v663", "MIDRC-RICORD-1C"),
        ("http://dx.doi.org/10.7937/91ah-v663", "MIDRC-RICORD-1C"),
        ("https://www.cancerimagingarchive.net/collection/covid-19-ar/", "COVID-19-AR"),
        ("http://cancerimagingarchive.net/collection/covid-19-ar", "COVID-19-AR"),
        (
            "https://wiki.cancerimagingarchive.net/pages/viewpage.action?pageId=133072661",
            "MIDRC-RICORD-1A",
        ),
        (
            "https://wiki.cancerimagingarchive.net/display/Public/CT+Images+in+COVID-19#x",
            "CT Images in COVID-19",
        ),
    ],
)
def test_a_collection_is_found_by_any_of_its_names(registry, typed, name):
    assert found(registry, typed).name == name


@pytest.mark.parametrize(
    "typed",
    ["", " ", "LIDC-IDRI", "covid", "1.2.3", "https://example.org/covid-19-ar", "http://[", "./ar"],
)
def test_other_names_find_no_collection(registry, typed):
    assert registry.find(typed) is None


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("COVID-19-ARR", ["COVID-19-AR"]),
        ("ricord", ["MIDRC-RICORD-1A", "MIDRC-RICORD-1B", "MIDRC-RICORD-1C"]),
        ("ricrod-1c", ["MIDRC-RICORD-1C"]),
        ("sbuu", ["COVID-19-NY-SBU"]),
        ("LIDC-IDRI", []),
        ("", []),
    ],
)
def test_similar_names_are_suggested_most_similar_first(registry, typed, names):
    assert registry.near(typed)[: max(len(names), 1)] == names
