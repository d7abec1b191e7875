"""Carts that somebody shared on NBIA's page: a name that stands for a list of series."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import unquote

from tcia_covid.errors import RequestError, UsageError
from tcia_covid.names import is_uid

_SHARED = re.compile(r"[?&]saved-cart=([^&#]*)")


class CartKeeper(Protocol):
    """The part of an archive that knows shared carts."""

    def shared_cart(self, name: str) -> Sequence[str]:
        """The SeriesInstanceUIDs of a cart; nothing for one that is not known."""
        ...


def cart_uids(archive: CartKeeper, name: str) -> tuple[str, ...]:
    """The series in a shared cart, sorted.

    NBIA answers alike for a cart that is empty and for one that it does not know.

    Args:
        archive: whom to ask.
        name: of the cart, or the address of NBIA's page that has it.

    Raises:
        UsageError: the name is blank.
        RequestError: there is no such cart, or nothing public is in it.
        ArchiveError: the archive gave no usable answer.
    """
    name = _named(name)
    if not name:
        raise UsageError("the name of a shared cart is blank")
    uids = sorted({uid for uid in archive.shared_cart(name) if is_uid(uid)})
    if not uids:
        raise RequestError(
            f"no shared cart is called {name!r}, or nothing public is in it",
            hint="check the name, or have the cart's owner export a "
            ".tcia manifest: that can be given as a target",
        )
    return tuple(uids)


def _named(given: str) -> str:
    """The name of a cart in what somebody pasted: the name alone, or the page's address."""
    found = _SHARED.search(given)
    return (unquote(found[1]) if found else given).strip()
