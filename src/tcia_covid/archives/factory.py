"""Creating the archives of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tcia_covid.archives.base import Archive
from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.archives.idc.endpoints import parse_endpoints
from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.catalog import series_catalog
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ManifestError, StatusError
from tcia_covid.core.events import Emit
from tcia_covid.core.redaction import redact
from tcia_covid.http.client import Client
from tcia_covid.http.retry import Reachability
from tcia_covid.http.settings import HttpSettings, check_nbia_url, is_safe_address
from tcia_covid.http.throttle import ByteCounter, RateLimiter
from tcia_covid.selection.manifests.model import Fetch
from tcia_covid.selection.request import Options

MAX_PAUSE = 5.0
"""Seconds to wait where one of IDC's endpoints asks for a pause; then others take over."""
_MAX_MANIFEST = 128 * 1024**2
"""Bytes of a manifest on the web that are received."""


@dataclass(slots=True, eq=False)
class Archives:
    """The archives of a run, and what they share."""

    nbia: NbiaArchive
    quick: NbiaArchive
    """NBIA with short timeouts and few retries, for what is available elsewhere as well."""
    idc: IdcArchive
    order: Sequence[Archive]
    """Where series are downloaded from, in order of preference."""
    hash_archives: Sequence[Archive]
    """For hashes of images from another archive, with short timeouts and few retries."""
    manifests: Fetch
    """Gets manifests from the web."""
    meter: ByteCounter
    reachability: Reachability
    clients: tuple[Client, ...]

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients:
            client.close()


def open_for_options(
    options: Options, stop: CancelToken, emit: Emit, meter: ByteCounter | None = None
) -> Archives:
    """Create the archives that the options name; nothing is sent before the first request."""
    settings, is_auto = options.http, options.source == "auto"
    meter = meter or ByteCounter()
    reachability = Reachability()
    client = partial(
        Client,
        stop=stop,
        connections=options.jobs,
        meter=meter,
        rate=RateLimiter(settings.max_rate, stop, emit=emit),
        reachability=reachability,
        emit=emit,
    )
    s3_client = client(
        _for_s3(settings, is_auto=is_auto),
        connections=options.jobs * IdcArchive.connections_per_job,
        max_pause=MAX_PAUSE,
    )
    nbia_clients = (
        client(settings),
        client(_with_short_timeouts(settings, first_byte=120.0)),
        client(_with_short_timeouts(settings, first_byte=20.0)),
    )
    nbia = NbiaArchive(nbia_clients[0], options.nbia_url)
    idc = IdcArchive(
        s3_client, options.idc_url, find=series_catalog.find, list_all=series_catalog.load
    )
    orders: dict[str, list[Archive]] = {"nbia": [nbia], "idc": [idc], "auto": [idc, nbia]}
    return Archives(
        nbia=nbia,
        quick=NbiaArchive(nbia_clients[1], options.nbia_url, timeout_retries=0),
        idc=idc,
        order=orders[options.source],
        hash_archives=[NbiaArchive(nbia_clients[2], options.nbia_url)] if is_auto else [],
        manifests=partial(
            fetch_manifest, nbia_clients[1], allow_http=options.site_url.startswith("http:")
        ),
        meter=meter,
        reachability=reachability,
        clients=(*nbia_clients, s3_client),
    )


def _for_s3(settings: HttpSettings, *, is_auto: bool) -> HttpSettings:
    """S3 responds at once or not at all; the long timeout is for NBIA's ZIPs."""
    first_byte, connect = (20.0, 10.0) if is_auto else (60.0, settings.connect_timeout)
    return replace(
        settings,
        connect_timeout=min(settings.connect_timeout, connect),
        first_byte_timeout=min(settings.first_byte_timeout, first_byte),
    )


def _with_short_timeouts(settings: HttpSettings, *, first_byte: float) -> HttpSettings:
    """For what is available elsewhere, or optional: it must not delay the rest."""
    return replace(
        settings,
        retries=min(settings.retries, 1),
        retry_after_cap=min(settings.retry_after_cap, 10.0),
        connect_timeout=min(settings.connect_timeout, 10.0),
        first_byte_timeout=min(settings.first_byte_timeout, first_byte),
    )


def check_addresses(nbia_url: str, idc_url: str | None) -> None:
    """Raise `UsageError` if one of the archives' addresses cannot be used."""
    check_nbia_url(nbia_url)
    if idc_url:
        parse_endpoints(idc_url)


def fetch_manifest(client: Client, url: str, *, allow_http: bool = False) -> bytes:
    """Get a manifest from the web. The client follows redirects to https only.

    `allow_http` permits http on this machine, as it is where TCIA's site is there.

    Raises:
        ManifestError: the address cannot be used, or the server does not provide it.
        ArchiveError: the server did not respond, or sent too much.
    """
    if not is_safe_address(url, allow_http=allow_http):
        raise ManifestError(
            f"{redact(url)} is not an https address",
            hint="download the manifest, and give the file",
        )
    try:
        return client.fetch(url, lambda response: response.read_all(_MAX_MANIFEST))
    except StatusError as error:
        if not error.is_denial:
            raise
        raise ManifestError(
            f"the server does not provide {redact(url)} (HTTP {error.status})",
            hint="check the address; if it needs a login, download the file with a browser",
        ) from error
