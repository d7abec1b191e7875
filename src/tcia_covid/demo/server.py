"""The demo archive: DICOM files that come with pydicom, served on loopback as NBIA's API v4."""

from __future__ import annotations

import io
import json
import socketserver
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pydicom.data

from tcia_covid.core.models import series_md5
from tcia_covid.formats.hashes import hash_file

if TYPE_CHECKING:
    from typing_extensions import Self

COLLECTIONS: Mapping[str, tuple[str, ...]] = {
    "DEMO-CT": (
        "693_J2KI.dcm",
        "CT_small.dcm",
        "J2K_pixelrep_mismatch.dcm",
        "dicomdirtests/TINY_ALPHA/*/*/*/IM*",
    ),
    "DEMO-MULTI": (
        "MR_small.dcm",
        "examples_overlay.dcm",
        "dicomdirtests/77654033/*/*",
        "dicomdirtests/98892001/*/*",
        "dicomdirtests/98892003/*/*",
    ),
    "DEMO-OTHER": (
        "JPEG-lossy.dcm",
        "examples_jpeg2k.dcm",
        "examples_rgb_color.dcm",
        "liver_1frame.dcm",
        "waveform_ecg.dcm",
    ),
}
"""The files in pydicom's wheel that each collection consists of.

They are named one by one, or by folders of fixed content, so that the counts in registry.yaml stay
correct when a later pydicom adds files.
"""
_SAME_NAMES = (
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "ProtocolName",
    "SeriesDescription",
    "BodyPartExamined",
    "PatientID",
    "PatientSex",
    "PatientAge",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
)
"""Columns of NBIA's lists that have the names of DICOM's elements."""
_PATH = "/nbia-api/services/v4/"
_CUT_AT = 0.9
"""The fraction of the ZIP that arrives before the connection is cut."""


@dataclass(frozen=True, slots=True)
class DemoImage:
    """One DICOM file of the archive."""

    uid: str
    """SOPInstanceUID."""
    file: Path
    size: int
    """Bytes."""
    md5: str


@dataclass(frozen=True, slots=True)
class DemoSeries:
    """One series with its images."""

    row: Mapping[str, str | int]
    """As in NBIA's list: column to value; an unknown value has no column."""
    images: tuple[DemoImage, ...]

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return str(self.row["SeriesInstanceUID"])

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(image.size for image in self.images)


def read_series() -> list[DemoSeries]:
    """The series of the archive."""
    root = Path(pydicom.data.__file__).parent / "test_files"
    return [
        series
        for collection, patterns in COLLECTIONS.items()
        for series in _group(
            collection, (file for pattern in patterns for file in sorted(root.glob(pattern)))
        )
    ]


def _group(collection: str, files: Iterable[Path]) -> Iterator[DemoSeries]:
    """The files of a collection as series; some of pydicom's files are the same image twice."""
    headers: dict[str, pydicom.FileDataset] = {}
    images: dict[str, dict[str, DemoImage]] = {}
    for file in files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unusual values are served as they are
            header = pydicom.dcmread(file, stop_before_pixels=True)
            series, image = str(header.SeriesInstanceUID), str(header.SOPInstanceUID)
        headers.setdefault(series, header)
        images.setdefault(series, {}).setdefault(
            image, DemoImage(image, file, *hash_file(file, "md5"))
        )
    for uid, header in headers.items():
        members = tuple(images[uid].values())
        yield DemoSeries(_row(collection, header, members), members)


def _row(
    collection: str, header: pydicom.FileDataset, images: tuple[DemoImage, ...]
) -> dict[str, str | int]:
    """The row of a series in getSeries and getSeriesMetadata, as far as programs read it."""
    number = header.get("SeriesNumber")
    row = {
        **{name: _text(header, name) for name in _SAME_NAMES},
        "Collection": collection,
        "SeriesNumber": None if number in (None, "") else int(number),
        "SeriesDate": _american(_text(header, "SeriesDate")),
        "StudyDate": _american(_text(header, "StudyDate")),
        "StudyDesc": _text(header, "StudyDescription"),
        "ImageCount": len(images),
        "FileSize": sum(image.size for image in images),
        "LicenseName": "MIT License",
        "LicenseURI": "https://github.com/pydicom/pydicom/blob/main/LICENSE",
        "DataDescriptionURI": "https://github.com/pydicom/pydicom",
        "MaxSubmissionTimestamp": "01-10-2024",
        "DateReleased": "01-15-2024",
        "ThirdPartyAnalysis": "NO",
    }
    return {name: value for name, value in row.items() if value is not None}


def _text(header: pydicom.FileDataset, keyword: str) -> str | None:
    value = header.get(keyword)
    if value is None or isinstance(value, str):
        return value or None
    return ", ".join(map(str, value)) or None


def _american(date: str | None) -> str | None:
    """DICOM's `yyyymmdd` as NBIA's `MM-dd-yyyy`."""
    return date and f"{date[4:6]}-{date[6:]}-{date[:4]}"


class Reply(NamedTuple):
    """A response of the archive."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain"


class DemoServer(ThreadingHTTPServer):
    """Serves the calls of NBIA that programs download with, on loopback, as a context manager.

    Args:
        series: the contents.
        port: 0 selects a free one.
        cut: SeriesInstanceUID; the connection is cut in the first ZIP of this series.

    Raises:
        OSError: the port is in use.
    """

    allow_reuse_port = False
    request_queue_size = 128

    def __init__(self, series: Iterable[DemoSeries], port: int = 0, *, cut: str = "") -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.series = {entry.uid: entry for entry in series}
        self.cut = cut
        self.calls: list[str] = []
        """The endpoints that were called, in order."""

    def server_bind(self) -> None:
        """Bind without asking the name service for a name of the address."""
        socketserver.TCPServer.server_bind(self)

    @property
    def base_url(self) -> str:
        """The base URL of v4."""
        return f"http://127.0.0.1:{self.server_address[1]}{_PATH.rstrip('/')}"

    def handle_error(self, *_: object) -> None:
        """Print nothing about a broken connection."""

    def __enter__(self) -> Self:
        """Serve from threads of this process."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()

    def reply(self, call: str, params: Mapping[str, str]) -> Reply:
        """The reply to a call; as NBIA's, status 500 where the call or an image is unknown."""
        endpoints: Mapping[str, Callable[[Mapping[str, str]], Reply]] = {
            "getCollectionValues": self._collections,
            "getSeries": self._list,
            "getSeriesMetadata": self._metadata,
            "getSOPInstanceUIDs": self._image_uids,
            "getImage": self._zip,
            "getImageWithMD5Hash": self._zip,
            "getSingleImage": self._image,
            "getMD5HashForImage": self._image_md5,
            "getMD5Hierarchy": self._series_md5,
        }
        try:
            return endpoints[call](params)
        except KeyError:
            return Reply(b"Server was not able to process your request\nnull", 500)

    def _collections(self, _: Mapping[str, str]) -> Reply:
        names = dict.fromkeys(entry.row["Collection"] for entry in self.series.values())
        return _rows({"Collection": name} for name in names)

    def _list(self, params: Mapping[str, str]) -> Reply:
        """The series whose columns have the values of the parameters, in any case."""
        wanted = {name: value.upper() for name, value in params.items() if name != "format"}
        return _rows(
            entry.row
            for entry in self.series.values()
            if all(str(entry.row.get(name)).upper() == value for name, value in wanted.items())
        )

    def _metadata(self, params: Mapping[str, str]) -> Reply:
        uids = params["list"].split(",")
        return _rows(self.series[uid].row for uid in uids if uid in self.series)

    def _image_uids(self, params: Mapping[str, str]) -> Reply:
        images = self.series[params["SeriesInstanceUID"]].images
        return _rows({"SOPInstanceUID": image.uid} for image in images)

    def _zip(self, params: Mapping[str, str]) -> Reply:
        """The images of a series, and the list of their MD5s."""
        uid = params["SeriesInstanceUID"]
        if uid not in self.series:
            refusal = f"The user has not been granted the access to SeriesInstanceUID,{uid}"
            return Reply(refusal.encode(), 400)
        lines, packed = ["Filename,MD5Hash\n"], io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            for number, image in enumerate(self.series[uid].images, start=1):
                lines.append(f"{number:08d}.dcm,{image.md5}\n")
                file.writestr(f"{number:08d}.dcm", image.file.read_bytes())
            file.writestr("md5hashes.csv", "".join(lines))
        return Reply(packed.getvalue(), content_type="application/octet-stream")

    def _image(self, params: Mapping[str, str]) -> Reply:
        content = self._images()[params["SOPInstanceUID"]].file.read_bytes()
        return Reply(content, content_type="application/dicom")

    def _image_md5(self, params: Mapping[str, str]) -> Reply:
        return Reply(self._images()[params["SOPInstanceUID"]].md5.encode())

    def _series_md5(self, params: Mapping[str, str]) -> Reply:
        images = self.series[params["SeriesInstanceUID"]].images
        return Reply(series_md5(image.md5 for image in images).encode())

    def _images(self) -> dict[str, DemoImage]:
        return {image.uid: image for entry in self.series.values() for image in entry.images}


def _rows(rows: Iterable[Mapping[str, Any]]) -> Reply:
    """A list as JSON; no rows are an empty body."""
    listed = [*rows]
    return Reply(json.dumps(listed).encode() if listed else b"", content_type="application/json")


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: DemoServer

    def do_GET(self) -> None:
        """Answer a call with a query."""
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        """Answer a call with a form."""
        length = int(self.headers.get("Content-Length", "0"))
        self._answer(self.rfile.read(length).decode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self, values: str) -> None:
        call, params = urlsplit(self.path).path.removeprefix(_PATH), dict(parse_qsl(values))
        self.server.calls.append(call)
        reply = self.server.reply(call, params)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if call == "getImage" and params.get("SeriesInstanceUID") == self.server.cut:
            self.server.cut, self.close_connection = "", True
            self.wfile.write(reply.body[: int(len(reply.body) * _CUT_AT)])
        else:
            self.wfile.write(reply.body)
