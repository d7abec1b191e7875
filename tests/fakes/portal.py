"""A fake of TCIA's web site: WordPress' lists of downloads, its media records, its files.

with FakePortal() as site:
    site.file("table.xlsx", content)
    site.collection("ct", site.download(title="Table", url=site.address("table.xlsx")))
    api = SiteApi(client, site.url)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.scripted_server import Fin, Head, Reset, ScriptedServer, Send, Step, head, status

_RANGE = re.compile(r"bytes=(\d+)-")
UPLOADS = "/wp-content/uploads/"


@dataclass
class ServedFile:
    """A file of the site, and how it is given."""

    content: bytes
    media_type: str = "application/octet-stream"
    etag: str | None = None
    modified: str | None = None
    ranges: bool = True
    """Whether a part of it can be requested."""
    length: bool = True
    """Whether the response has its length; else the file ends with the connection."""
    cuts: int = 0
    """How many of the next responses break off half-way."""
    instead: bytes = b""
    """What is sent in its place, as a page with status 200."""
    status: int = 200


class FakePortal:
    """Serves on loopback from entering to leaving."""

    def __init__(self) -> None:
        self.files: dict[str, ServedFile] = {}
        """By path."""
        self.per_page = 100
        """Maximum number of records on a page, for any request."""
        self.link_base: str | None = None
        """What the links to next pages begin with; the server itself by default."""
        self.ignores_slug = False
        self.answers: dict[str, Callable[[Head], list[Step]]] = {}
        """What is answered instead, by the beginning of the path."""
        self._collections: list[dict[str, Any]] = []
        self._downloads: dict[int, dict[str, Any]] = {}
        self._media: dict[int, dict[str, Any]] = {}
        self._server = ScriptedServer(answer=self._answer)

    @property
    def url(self) -> str:
        """The site's address."""
        return self._server.url

    @property
    def heads(self) -> list[Head]:
        """Every request received."""
        return self._server.heads

    @property
    def paths(self) -> list[str]:
        """The paths of requests, without queries."""
        return [urlsplit(item.path).path for item in self.heads]

    def __enter__(self) -> FakePortal:
        self._server.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.__exit__(*exception)

    def address(self, name: str) -> str:
        """The address of an uploaded file."""
        return f"{self.url}{UPLOADS}{name}"

    def file(self, name: str, content: bytes, **how: Any) -> ServedFile:
        """Upload a file."""
        etag = how.pop("etag", f'"{hashlib.md5(content).hexdigest()[:16]}"')
        held = ServedFile(content, etag=etag, **how)
        self.files[f"{UPLOADS}{name}"] = held
        return held

    def media(self, number: int, url: str) -> int:
        """Add a media record."""
        self._media[number] = {"id": number, "source_url": url}
        return number

    def download(self, title: str, *, url: object = "", file: object = "", **more: Any) -> int:
        """Add an entry of the download tables; gives its number."""
        number = 500 + len(self._downloads)
        self._downloads[number] = {
            "id": number,
            "slug": f"download-{number}",
            "title": {"rendered": title},
            "download_title": title,
            "download_url": url,
            "download_file": file or False,
            "download_type": more.pop("kind", []),
            "file_type": [],
            "download_size": "1.5",
            "download_size_unit": "mb",
            "data_license": {"label": "CC BY 4.0", "url": "https://example.org/by"},
            "date_updated": "2021-05-25",
            **more,
        }
        return number

    def collection(self, slug: str, *downloads: Any) -> None:
        """Add a collection whose page offers `downloads`."""
        self._collections.append(
            {
                "id": 40 + len(self._collections),
                "slug": slug,
                "collection_short_title": slug.upper(),
                "collection_downloads": list(downloads),
            }
        )

    def _answer(self, request: Head) -> Sequence[Step]:
        address = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        for start, answer in self.answers.items():
            if address.path.startswith(start):
                return answer(request)
        if address.path == "/api/v1/collections/":
            return self._list(address.path, self._found(query), query)
        if address.path == "/api/v1/downloads/":
            wanted = [int(item) for item in query["include"].split(",")]
            rows = [self._downloads[item] for item in sorted(wanted) if item in self._downloads]
            return self._list(address.path, rows, query)
        if address.path.startswith("/api/wp/v2/media/"):
            record = self._media.get(int(address.path.rpartition("/")[2]))
            return _json(record) if record else _json({"code": "rest_post_invalid_id"}, 404)
        return self._give(unquote(address.path), request)

    def _found(self, query: dict[str, str]) -> list[dict[str, Any]]:
        slug = query.get("slug")
        return [item for item in self._collections if self.ignores_slug or item["slug"] == slug]

    def _list(self, path: str, rows: list[dict[str, Any]], query: dict[str, str]) -> list[Step]:
        page, size = int(query.get("page", "1")), int(query.get("per_page", "10"))
        size = min(size, self.per_page)
        shown = rows[(page - 1) * size : page * size]
        if page * size >= len(rows):
            return _json(shown)
        base = self.link_base if self.link_base is not None else self.url
        asked = "&".join(f"{key}={value}" for key, value in query.items() if key != "page")
        link = f'<{base}{path}?{asked}&page={page + 1}>; rel="next"'
        return _json(shown, Link=link)

    def _give(self, path: str, request: Head) -> list[Step]:
        held = self.files.get(path)
        if held is None:
            return status(404, b"<html>not here</html>", Content_Type="text/html")
        if held.instead:
            return status(200, held.instead, Content_Type="text/html")
        if held.status != 200:
            return status(held.status, b"not now")
        validators = _validators(held)
        start = _start(held, request)
        body = held.content[start:]
        if start and start >= len(held.content):
            return status(416, b"")
        if start:
            of = f"bytes {start}-{len(held.content) - 1}/{len(held.content)}"
            validators["Content_Range"] = of
        return _sent(held, body, 206 if start else 200, validators)


def _start(held: ServedFile, request: Head) -> int:
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or not held.ranges:
        return 0
    condition = request.headers.get("if-range")
    if condition is not None and condition not in (held.etag, held.modified):
        return 0
    return int(asked[1])


def _validators(held: ServedFile) -> dict[str, str]:
    known = {"ETag": held.etag, "Last_Modified": held.modified}
    return {key: value for key, value in known.items() if value} | {
        "Content_Type": held.media_type,
        "Connection": "close" if not held.length else "keep-alive",
    }


def _sent(held: ServedFile, body: bytes, code: int, headers: dict[str, str]) -> list[Step]:
    length = len(body) if held.length else None
    begin = head(code, length=length, **headers)
    if held.cuts:
        held.cuts -= 1
        return [Send(begin + body[: max(1, len(body) // 2)]), Reset() if held.length else Fin()]
    return [Send(begin + body), *([] if held.length else [Fin()])]


def _json(content: Any, code: int = 200, **headers: str) -> list[Step]:
    body = json.dumps(content).encode()
    return status(code, body, Content_Type="application/json; charset=UTF-8", **headers)
