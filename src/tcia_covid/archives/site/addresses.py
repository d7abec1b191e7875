"""Which addresses are taken from the site: never one without TLS, never one with credentials."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from tcia_covid.errors import UsageError
from tcia_covid.redact import redact

_PACKAGES = "faspex"


def checked_base(url: str) -> str:
    """Give the site's base address without a slash at its end.

    Raises:
        UsageError: it is no address that a site could have.
    """
    if not _is_safe(url, plain=True):
        raise UsageError(
            f"{redact(url)} cannot be the site's address",
            hint="give an https address, such as https://cancerimagingarchive.net",
        )
    return url.rstrip("/")


def taken(address: str, base: str) -> str | None:
    """Give an address that the site names, made absolute; None if it is none to follow.

    What WordPress writes as http is asked by https. Plain http is followed on this machine alone,
    and only where the site itself is asked so.
    """
    if not address or any(one < " " for one in address):
        return None
    try:
        whole = urljoin(f"{base}/", address.strip())
        plain = urlsplit(base).scheme == "http"
        secured = re.sub(r"\Ahttp://", "https://", whole, flags=re.IGNORECASE)
        whole = whole if _is_safe(whole, plain=plain) else secured
        return _quoted(whole) if _is_safe(whole, plain=plain) else None
    except ValueError:
        return None


def is_package(address: str) -> bool:
    """Whether an address leads to an Aspera Faspex package rather than to a file."""
    parts = urlsplit(address)
    return _PACKAGES in f"{parts.hostname}{parts.path}".casefold()


def _is_safe(address: str, *, plain: bool) -> bool:
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    if not usable or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (
        plain and parts.scheme == "http" and _is_loopback(parts.hostname or "")
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _quoted(address: str) -> str:
    """Blanks and other characters that no address has, as their codes."""
    parts = urlsplit(address)
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
