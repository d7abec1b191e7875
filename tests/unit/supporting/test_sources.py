"""Files that TCIA's web site lists."""

from __future__ import annotations

from tcia_covid.catalog.collections import SupportingFile
from tcia_covid.store.tree import Tree
from tests.fakes.portal import FakePortal
from tests.unit.supporting.helpers import (
    CSV,
    SLUG,
    entry,
    fetch,
    files_in_place,
    receipts,
    unchanged,
    xlsx,
)


def test_a_file_without_an_address_is_looked_up_on_the_site(site: FakePortal, tree: Tree) -> None:
    name = "MIDRC-RICORD-1c Clinical Data Jan 13 2021 .xlsx"
    published = "MIDRC-RICORD-1c-Clinical-Data-Jan-13-2021-.xlsx"
    site.file(published, xlsx())
    site.media(7, site.address(published))
    other = site.download("Another table", url=site.address("other.csv"))
    site.file("other.csv", CSV)
    clinical = site.download("Clinical", file={"ID": 7})
    site.collection(SLUG, other, clinical)
    file = SupportingFile("Clinical data", "clinical", name)
    result = fetch(site, tree, file)
    assert result.failures == []
    assert set(files_in_place(tree)) == {
        "MIDRC-RICORD-1c_Clinical_Data_Jan_13_2021.xlsx",
        "other.csv",
    }
    receipt = receipts(tree)["MIDRC-RICORD-1c_Clinical_Data_Jan_13_2021.xlsx"]
    assert (receipt.source, receipt.original, receipt.kind) == ("site", name, "clinical")
    asked = len(site.heads)
    assert len(unchanged(fetch(site, tree, file))) == 2
    assert len(site.heads) == asked


def test_a_manifest_without_a_name_is_looked_up_by_its_kind(site: FakePortal, tree: Tree) -> None:
    site.file(
        "COVID-manifest.tcia", b"downloadServerUrl=https://x\nListOfSeriesToDownload=\n1.2.3\n"
    )
    site.file("table.csv", CSV)
    table = site.download("Clinical data (CSV)", url=site.address("table.csv"))
    images = site.download("Images (DICOM)", url=site.address("COVID-manifest.tcia"))
    site.collection(SLUG, images, table)
    manifest = SupportingFile("TCIA's manifest", "manifest", basket="manifest-1")
    fetch(site, tree, manifest, entry(site, "table.csv"))
    assert set(files_in_place(tree)) == {"COVID-manifest.tcia", "table.csv"}
    assert receipts(tree)["COVID-manifest.tcia"].title == "TCIA's manifest"
    assert receipts(tree)["table.csv"].source == "registry"


def test_every_listed_manifest_is_downloaded(site: FakePortal, tree: Tree) -> None:
    for name in ("a.tcia", "b.tcia"):
        site.file(name, b"ListOfSeriesToDownload=\n1.2.3\n")
    listed = [site.download(f"Images {n}", url=site.address(n)) for n in ("a.tcia", "b.tcia")]
    site.collection(SLUG, *listed)
    manifest = SupportingFile("TCIA's manifest", "manifest")
    assert fetch(site, tree, manifest).failures == []
    assert set(files_in_place(tree)) == {"a.tcia", "b.tcia"}
    asked = len(site.heads)
    assert len(unchanged(fetch(site, tree, manifest))) == 2
    assert len(site.heads) == asked


def test_a_file_that_the_site_does_not_list_fails_until_it_does(
    site: FakePortal, tree: Tree
) -> None:
    site.collection(SLUG)
    file = SupportingFile("Clinical data", "clinical", "table.csv")
    (failure,) = fetch(site, tree, file).failures
    assert (failure.reason, "Clinical data" in failure.detail) == ("not-available", True)
    site.file("table.csv", CSV)
    site._collections.clear()
    site.collection(SLUG, site.download("x", url=site.address("table.csv")))
    assert fetch(site, tree, file).failures == []


def test_a_file_of_the_site_that_failed_is_requested_again(site: FakePortal, tree: Tree) -> None:
    site.file("table.csv", CSV)
    served = site.file("extra.csv", CSV, status=404)
    site.collection(
        SLUG,
        site.download("a", url=site.address("table.csv")),
        site.download("b", url=site.address("extra.csv")),
    )
    file = SupportingFile("Clinical data", "clinical", "table.csv")
    assert len(fetch(site, tree, file).failures) == 1
    served.status = 200
    assert fetch(site, tree, file).failures == []
    assert set(files_in_place(tree)) == {"table.csv", "extra.csv"}


def test_a_file_that_only_the_site_lists_is_repaired(site: FakePortal, tree: Tree) -> None:
    site.file("table.csv", CSV)
    site.collection(SLUG, site.download("a", url=site.address("table.csv")))
    fetch(site, tree)
    (tree.root / "supporting" / "table.csv").write_bytes(b"changed")
    assert len(fetch(site, tree).fetched) == 1
    assert files_in_place(tree) == {"table.csv": CSV, "table.csv.moved-aside": b"changed"}


def test_two_files_of_one_name_do_not_replace_each_other(site: FakePortal, tree: Tree) -> None:
    site.file("2020/table.csv", b"old," + CSV)
    site.file("2021/table.csv", b"new," + CSV)
    site.collection(
        SLUG,
        site.download("a", url=site.address("2020/table.csv")),
        site.download("b", url=site.address("2021/table.csv")),
    )
    fetch(site, tree)
    assert sorted(files_in_place(tree).values()) == [b"new," + CSV, b"old," + CSV]
    asked = len(site.heads)
    assert len(unchanged(fetch(site, tree))) == 2
    assert len(site.heads) == asked


def test_aspera_packages_are_reported_and_not_downloaded(site: FakePortal, tree: Tree) -> None:
    package = "https://faspex.example.org/aspera/faspex/public/package?context=abc"
    site.collection(SLUG, site.download("Pathology", url=package))
    result = fetch(site, tree)
    assert (result.fetched, result.failures) == ([], [])
    (notice,) = result.notices
    assert "'Pathology' is an Aspera package" in notice
    assert "abc" not in notice


def test_an_unreachable_site_fails_only_files_without_an_address(
    site: FakePortal, tree: Tree
) -> None:
    site.file("table.csv", CSV)
    needed = SupportingFile("Manifest", "manifest")
    result = fetch(site, tree, entry(site, "table.csv"), needed)
    (failure,) = result.failures
    assert "Manifest" in failure.detail
    assert files_in_place(tree) == {"table.csv": CSV}
