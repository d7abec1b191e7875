from __future__ import annotations

from collections.abc import Iterator

import pytest

from tcia_covid.archives.portal import (
    DEFAULT_PORTAL_URL,
    PortalApi,
    PortalDownload,
    check_base_url,
    decimal,
    items,
    labels,
    record_id,
    safe_url,
    text,
)
from tcia_covid.core.errors import BadResponseError, NotAvailableError, UsageError
from tcia_covid.http.client import Client
from tests.fakes.portal import FakePortal
from tests.fakes.scripted_server import status
from tests.unit.http.helpers import client_with

SLUG = "ct-images-in-covid-19"
PACKAGE = "https://faspex.example.org/aspera/faspex/public/package?context=c2VjcmV0"


@pytest.fixture
def site() -> Iterator[FakePortal]:
    with FakePortal() as running:
        yield running


@pytest.fixture
def client() -> Iterator[Client]:
    with client_with(retries=1) as client:
        yield client


def api(client: Client, site: FakePortal) -> PortalApi:
    return PortalApi(client, f"{site.url}/")


def test_the_downloads_of_a_collection_come_in_the_pages_order(
    site: FakePortal, client: Client
) -> None:
    table = site.download("Table", url="/wp-content/uploads/a%20b.xlsx", kind=["Clinical Data"])
    package = site.download("Images, <b>first</b> &amp; last", url=PACKAGE, download_size="11.8")
    site.collection(SLUG, package, table)
    first, second = api(client, site).downloads(SLUG)
    assert first.title == "Images, first & last"
    assert first.url == PACKAGE
    assert first.is_package
    assert first.file == ""
    assert first.size == 11_800_000
    assert (second.file, second.types) == ("a b.xlsx", ("Clinical Data",))
    assert second.url == f"{site.url}/wp-content/uploads/a%20b.xlsx"
    assert not second.is_package


def test_downloads_may_be_given_as_numbers_texts_or_objects(
    site: FakePortal, client: Client
) -> None:
    first, second, third = (site.download(f"File {n}") for n in range(3))
    site.collection(SLUG, {"ID": str(second), "post_title": "x"}, str(first), third, None, {}, True)
    assert [found.id for found in api(client, site).downloads(SLUG)] == [second, first, third]


def test_a_nested_entry_replaces_one_that_the_list_omits(site: FakePortal, client: Client) -> None:
    site.collection(SLUG, {"id": 9, "title": {"rendered": "Nested"}, "download_url": PACKAGE})
    (found,) = api(client, site).downloads(SLUG)
    assert (found.id, found.title, found.url) == (9, "Nested", PACKAGE)


@pytest.mark.parametrize("link_base", [None, "http://elsewhere.example", ""])
def test_lists_are_read_to_their_last_page_on_the_same_site(
    site: FakePortal, client: Client, link_base: str | None
) -> None:
    numbers = [site.download(f"File {n}") for n in range(7)]
    site.collection(SLUG, *numbers)
    site.per_page, site.link_base = 3, link_base
    assert [found.id for found in api(client, site).downloads(SLUG)] == numbers
    assert site.paths.count("/api/v1/downloads/") == 3


def test_a_list_without_an_end_is_refused(site: FakePortal, client: Client) -> None:
    link = '</api/v1/collections/?page=2>; rel="next"'
    site.answers["/api/v1/collections/"] = lambda head: status(200, b"[]", Link=link)
    with pytest.raises(BadResponseError, match="does not end"):
        api(client, site).downloads(SLUG)


def test_many_downloads_are_requested_in_parts(site: FakePortal, client: Client) -> None:
    numbers = [site.download(f"File {n}") for n in range(130)]
    site.collection(SLUG, *numbers)
    assert len(api(client, site).downloads(SLUG)) == 130


def test_the_collection_is_selected_from_a_list_with_others(
    site: FakePortal, client: Client
) -> None:
    site.collection("another", site.download("Wrong"))
    site.collection(SLUG, site.download("Right"))
    site.ignores_slug = True
    assert [found.title for found in api(client, site).downloads(SLUG)] == ["Right"]


def test_an_unknown_collection_is_not_available(site: FakePortal, client: Client) -> None:
    with pytest.raises(NotAvailableError, match="lists no collection 'nothing'") as caught:
        api(client, site).downloads("nothing")
    assert "cancerimagingarchive.net" in caught.value.hint


@pytest.mark.parametrize("media", [77, "77", {"ID": 77}, {"id": "77", "guid": "ftp://x"}])
def test_a_media_record_has_the_address_of_a_file(
    site: FakePortal, client: Client, media: object
) -> None:
    site.media(77, site.address("clinical data.xlsx"))
    site.collection(SLUG, site.download("Clinical", file=media))
    portal = api(client, site)
    (found,) = portal.downloads(SLUG)
    assert found.url is None
    assert portal.resolve(found).file == "clinical data.xlsx"


@pytest.mark.parametrize("media", [{"ID": 5, "url": "/a.csv"}, "https://x.example/a.csv"])
def test_an_address_in_place_of_a_media_record_is_used(
    site: FakePortal, client: Client, media: object
) -> None:
    site.collection(SLUG, site.download("Clinical", file=media))
    portal = api(client, site)
    (found,) = portal.downloads(SLUG)
    assert portal.resolve(found).file == "a.csv"
    assert not any("media" in path for path in site.paths)


def test_a_missing_media_record_is_not_available(site: FakePortal, client: Client) -> None:
    site.collection(SLUG, site.download("Clinical", file=8))
    portal = api(client, site)
    with pytest.raises(NotAvailableError, match="does not provide media record 8"):
        portal.resolve(portal.downloads(SLUG)[0])


@pytest.mark.parametrize("url", ["ftp://x.example/a", "javascript:alert(1)", "http://[", ""])
def test_a_download_without_an_address_to_follow_is_not_available(
    site: FakePortal, client: Client, url: str
) -> None:
    site.collection(SLUG, site.download("Odd", url=url))
    portal = api(client, site)
    with pytest.raises(NotAvailableError, match="no usable address for 'Odd'"):
        portal.resolve(portal.downloads(SLUG)[0])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>Just a moment...</html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"", "nothing"),
        (b'{"id": 1}', "not a list"),
        (b'[{"id":', "not JSON"),
    ],
)
def test_an_unusable_response_is_requested_again_and_then_reported(
    site: FakePortal, client: Client, body: bytes, reason: str
) -> None:
    site.answers["/api/v1/collections/"] = lambda head: status(200, body)
    with pytest.raises(BadResponseError, match=reason) as caught:
        api(client, site).downloads(SLUG)
    assert site.url in caught.value.message
    assert len(site.heads) == 2


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_refusal_is_not_retried(site: FakePortal, client: Client, code: int) -> None:
    site.answers["/api/v1/"] = lambda head: status(code, b"no")
    with pytest.raises(NotAvailableError, match=str(code)):
        api(client, site).downloads(SLUG)
    assert len(site.heads) == 1


@pytest.mark.parametrize(
    ("address", "base", "expected"),
    [
        ("https://x.example/a b.csv", DEFAULT_PORTAL_URL, "https://x.example/a%20b.csv"),
        (
            "https://x.example/a%20b.csv?c=d=&e",
            DEFAULT_PORTAL_URL,
            "https://x.example/a%20b.csv?c=d=&e",
        ),
        ("/up/ä.csv", DEFAULT_PORTAL_URL, f"{DEFAULT_PORTAL_URL}/up/%C3%A4.csv"),
        ("http://x.example/a.csv", DEFAULT_PORTAL_URL, "https://x.example/a.csv"),
        ("HTTP://x.example/a.csv", "http://127.0.0.1:1", "https://x.example/a.csv"),
        ("http://127.0.0.1:5/a", "http://127.0.0.1:1", "http://127.0.0.1:5/a"),
        ("http://localhost:5/a", "http://localhost:1", "http://localhost:5/a"),
        ("http://127.0.0.1:5/a", DEFAULT_PORTAL_URL, "https://127.0.0.1:5/a"),
        ("//x.example/a", DEFAULT_PORTAL_URL, "https://x.example/a"),
        ("https://user:secret@x.example/a", DEFAULT_PORTAL_URL, None),
        ("file:///etc/passwd", DEFAULT_PORTAL_URL, None),
        ("https://x.example:0/a", DEFAULT_PORTAL_URL, None),
        ("https://x.example/a\r\nHost: b", DEFAULT_PORTAL_URL, None),
        ("https:///a", DEFAULT_PORTAL_URL, f"{DEFAULT_PORTAL_URL}/a"),
    ],
)
def test_addresses_from_the_site_are_checked(address: str, base: str, expected: str | None) -> None:
    assert safe_url(address, base) == expected


@pytest.mark.parametrize(
    "url",
    ["http://site.example", "ftp://x", "https://", "https://me:pw@x.example", "x", "http://["],
)
def test_the_site_is_reached_only_over_tls_or_on_this_machine(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_base_url(url)
    assert "pw" not in caught.value.message


def test_packages_are_distinguished_from_files() -> None:
    old_link = "https://x.example/aspera/faspex/external_deliveries/77?passcode=1"
    file = "https://x.example/wp-content/uploads/a.csv?faspex=1"
    downloads = [PortalDownload(1, "", url) for url in (PACKAGE, old_link, file, None)]
    assert [download.is_package for download in downloads] == [True, True, False, False]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("half a \ud800", "half a ?"),
        ({"rendered": "A &amp; <i>B</i>\n C"}, "A & B C"),
        ({"label": {"name": "deep"}}, "deep"),
        ({"other": 1}, ""),
        (["a", {"title": "b"}, None], "a; b"),
        (False, ""),
        (12.5, "12.5"),
        ("x < y", "x < y"),
    ],
)
def test_texts_lose_what_they_are_wrapped_in(value: object, expected: str) -> None:
    assert text(value) == expected


def test_fields_are_read_in_every_shape() -> None:
    assert labels([{"name": "CSV"}, "CSV", "", {"label": "ZIP"}]) == ("CSV", "ZIP")
    assert labels("XLSX") == ("XLSX",)
    assert [record_id(value) for value in (3, "4", {"ID": 5}, True, "x", -1, 2.0, None)] == [
        *(3, 4, 5),
        *[None] * 5,
    ]
    assert list(items("1,2")) == ["1", "2"]
    assert list(items({"0": 1, "1": 2})) == [1, 2]
    assert list(items(7)) == [7]
    assert list(items(None)) == []
    assert [decimal(value) for value in ("1,234.5", 7, "", "nan", "-1", None)] == [
        *(1234.5, 7.0),
        *[None] * 4,
    ]
