"""Shared carts: a name becomes the series behind it, or an error that says what to do."""

from __future__ import annotations

import pytest

from tcia_covid.core.errors import RequestError, UsageError
from tcia_covid.selection.targets import cart_uids
from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import EmptyAnswer, Faults
from tests.unit.archive_helpers import nbia_of


@pytest.mark.parametrize("v1", [False, True])
def test_a_cart_gives_its_series(server: ArchiveServer, *, v1: bool) -> None:
    uids = sorted(series.uid for series in server.corpus)[:3]
    server.carts["nbia-12345"] = list(reversed(uids))
    with nbia_of(server, v1=v1) as nbia:
        assert cart_uids(nbia.shared_cart, " nbia-12345 ") == tuple(uids)


@pytest.mark.parametrize(
    "pasted",
    [
        "https://nbia.cancerimagingarchive.net/nbia-search/?saved-cart=nbia-1%202",
        " https://nbia.cancerimagingarchive.net/nbia-search/?x=1&saved-cart=nbia-1 2#top",
    ],
)
def test_the_address_of_a_cart_contains_its_name(server: ArchiveServer, pasted: str) -> None:
    uid = min(series.uid for series in server.corpus)
    server.carts["nbia-1 2"] = [uid]
    with nbia_of(server) as nbia:
        assert cart_uids(nbia.shared_cart, pasted) == (uid,)


def test_an_empty_response_is_requested_again(corpus: Corpus) -> None:
    uid = next(iter(corpus)).uid
    faults = Faults(EmptyAnswer("getContentsByName"))
    with ArchiveServer(corpus, interceptor=faults) as server, nbia_of(server) as nbia:
        server.carts["mine"] = [uid]
        assert cart_uids(nbia.shared_cart, "mine") == (uid,)


@pytest.mark.parametrize("content", [None, [], ["1.2.3.withdrawn"]])
def test_a_cart_without_public_series_is_an_error(
    server: ArchiveServer, content: list[str] | None
) -> None:
    if content is not None:
        server.carts["mine"] = content
    with nbia_of(server) as nbia, pytest.raises(RequestError, match="'mine'") as error:
        cart_uids(nbia.shared_cart, "mine")
    assert error.value.exit_code == 2
    assert ".tcia" in error.value.hint


def test_a_blank_name_is_refused(server: ArchiveServer) -> None:
    with nbia_of(server) as nbia, pytest.raises(UsageError):
        cart_uids(nbia.shared_cart, "  ")
    assert not server.requests


def test_values_that_are_not_uids_are_ignored() -> None:
    assert cart_uids(lambda name: ["1.2.3", "null", "1.2.3"], "x") == ("1.2.3",)
