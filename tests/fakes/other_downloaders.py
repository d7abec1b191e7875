"""Series on disk as other downloaders store them: folders, names, and the files in them.

Read from the sources of tcia_utils 3.3.5, nbiatoolkit 1.3.1 and idc-index 0.13.4, and for NBIA's
own retriever from its sources and from paths that its users show.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.fakes.corpus import DemoSeries
from tests.fakes.s3 import object_key

LICENSE = "License Information. The collection is distributed under CC BY 4.0"
METADATA = "Series UID,Collection,3rd Party Analysis,Subject ID,Study UID,File Location\r\n"
BASKET = "manifest-1608266677008"

Layout = Callable[[Path, Iterable[DemoSeries]], None]


def retriever_classic(folder: Path, series: Iterable[DemoSeries]) -> None:
    """NBIA Data Retriever, classic names: a level a UID."""
    for item in series:
        _retrieved(folder, item, f"{item.study.uid}/{item.uid}")


def retriever_descriptive(folder: Path, series: Iterable[DemoSeries]) -> None:
    """NBIA Data Retriever, descriptive names: dates, descriptions, the last 5 of each UID."""
    for item in series:
        year, month, day = (item.study.date or "1901-01-01").split("-")
        study = f"{month}-{day}-{year}-{item.study.id or 'NA'}-{item.study.description or 'NA'}"
        name = f"{item.number or 0:.6f}-{item.description or 'NA'}"
        place = f"{study[:70]}-{item.study.uid[-5:]}/{name}-{item.uid[-5:]}"
        _retrieved(folder, item, place)


def tcia_utils(folder: Path, series: Iterable[DemoSeries]) -> None:
    """tcia_utils' nbia.downloadSeries: a folder a series, names of getImage?NewFileNames=Yes."""
    for item in series:
        place = folder / "tciaDownload" / item.uid
        _write(place, {"LICENSE": LICENSE.encode(), **_numbered(item)})


def tcia_utils_hashed(folder: Path, series: Iterable[DemoSeries]) -> None:
    """tcia_utils with hash='y', and before it asked for new names: 8 digits, hashes next to."""
    for item in series:
        files = {f"{n:08d}.dcm": image.read() for n, image in enumerate(item.images, start=1)}
        rows = zip(files, item.images, strict=True)
        listed = "".join(f"{name},{image.md5 or ''}\n" for name, image in rows)
        files["md5hashes.csv"] = f"Filename,MD5Hash\n{listed}".encode()
        _write(folder / "tciaDownload" / item.uid, files)


def tcia_utils_zipped(folder: Path, series: Iterable[DemoSeries]) -> None:
    """tcia_utils with as_zip=True: what adopting leaves alone."""
    for item in series:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, data in _numbered(item).items():
                archive.writestr(name, data)
        _write(folder / "tciaDownload", {f"{item.uid}.zip": content.getvalue()})


def nbiatoolkit(folder: Path, series: Iterable[DemoSeries]) -> None:
    """nbiatoolkit's default from Python: `%PatientName/%Modality-%SeriesNumber-%SeriesInstanceUID/
    %InstanceNumber.dcm`, of every UID the last 5 characters, what is blank called Unknown."""
    for item in series:
        patient = item.patient.name or "UnknownPatientName"
        place = f"{patient}/{item.modality}-{item.number:.0f}-{item.uid[-5:]}"
        numbered = {image.number: image for image in item.images}
        if len(numbered) < len(item.images):  # nbiatoolkit gives up there
            numbered = dict(enumerate(item.images, start=1))
        _write(folder / place, {f"{n}.dcm": image.read() for n, image in numbered.items()})


def nbiatoolkit_command(folder: Path, series: Iterable[DemoSeries]) -> None:
    """nbiatoolkit's command line: four levels of UIDs, of each the last 5 characters."""
    for item in series:
        place = f"{item.patient.id}/{item.study.uid[-5:]}/{item.uid[-5:]}"
        _write(folder / place, {f"{image.uid[-5:]}.dcm": image.read() for image in item.images})


def idc_index(folder: Path, series: Iterable[DemoSeries]) -> None:
    """idc-index: `%collection_id/%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID`, files
    called as the objects in the bucket."""
    for item in series:
        collection = item.collection.lower().replace("-", "_")
        place = f"{collection}/{item.patient.id}/{item.study.uid}/{item.modality}_{item.uid}"
        _write(folder / place, _objects(item))


def flat(folder: Path, series: Iterable[DemoSeries]) -> None:
    """Everything in one folder, without extensions, as idc-index does with an empty template."""
    for item in series:
        _write(folder, {name.removesuffix(".dcm"): data for name, data in _objects(item).items()})


LAYOUTS: Mapping[str, Layout] = {
    item.__name__: item
    for item in (
        retriever_classic,
        retriever_descriptive,
        tcia_utils,
        tcia_utils_hashed,
        nbiatoolkit,
        nbiatoolkit_command,
        idc_index,
        flat,
    )
}


def _retrieved(folder: Path, one: DemoSeries, place: str) -> None:
    root = folder / BASKET
    collection = root / one.collection
    _write(root, {"metadata.csv": METADATA.encode()})
    _write(collection, {"LICENSE": LICENSE.encode()})
    _write(collection / one.patient.id / place, _numbered(one))


def _numbered(one: DemoSeries) -> dict[str, bytes]:
    """Names as NBIA gives them: acquisition, and a running number in it."""
    width = len(str(len(one.images)))
    return {f"1-{n:0{width}d}.dcm": image.read() for n, image in enumerate(one.images, start=1)}


def _objects(one: DemoSeries) -> dict[str, bytes]:
    return {object_key(one.uid, i.uid).rpartition("/")[2]: i.read() for i in one.images}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
