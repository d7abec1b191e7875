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
    for one in series:
        _retrieved(folder, one, f"{one.study.uid}/{one.uid}")


def retriever_descriptive(folder: Path, series: Iterable[DemoSeries]) -> None:
    """NBIA Data Retriever, descriptive names: dates, descriptions, the last 5 of each UID."""
    for one in series:
        year, month, day = (one.study.date or "1901-01-01").split("-")
        study = f"{month}-{day}-{year}-{one.study.id or 'NA'}-{one.study.description or 'NA'}"
        name = f"{one.number or 0:.6f}-{one.description or 'NA'}"
        place = f"{study[:70]}-{one.study.uid[-5:]}/{name}-{one.uid[-5:]}"
        _retrieved(folder, one, place)


def tcia_utils(folder: Path, series: Iterable[DemoSeries]) -> None:
    """tcia_utils' nbia.downloadSeries: a folder a series, names of getImage?NewFileNames=Yes."""
    for one in series:
        place = folder / "tciaDownload" / one.uid
        _write(place, {"LICENSE": LICENSE.encode(), **_numbered(one)})


def tcia_utils_hashed(folder: Path, series: Iterable[DemoSeries]) -> None:
    """tcia_utils with hash='y', and before it asked for new names: 8 digits, hashes next to."""
    for one in series:
        files = {f"{n:08d}.dcm": image.read() for n, image in enumerate(one.images, start=1)}
        rows = zip(files, one.images, strict=True)
        listed = "".join(f"{name},{image.md5 or ''}\n" for name, image in rows)
        files["md5hashes.csv"] = f"Filename,MD5Hash\n{listed}".encode()
        _write(folder / "tciaDownload" / one.uid, files)


def tcia_utils_zipped(folder: Path, series: Iterable[DemoSeries]) -> None:
    """tcia_utils with as_zip=True: what adopting leaves alone."""
    for one in series:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, data in _numbered(one).items():
                archive.writestr(name, data)
        _write(folder / "tciaDownload", {f"{one.uid}.zip": content.getvalue()})


def nbiatoolkit(folder: Path, series: Iterable[DemoSeries]) -> None:
    """nbiatoolkit's default from Python: `%PatientName/%Modality-%SeriesNumber-%SeriesInstanceUID/
    %InstanceNumber.dcm`, of every UID the last 5 characters, what is blank called Unknown."""
    for one in series:
        patient = one.patient.name or "UnknownPatientName"
        place = f"{patient}/{one.modality}-{one.number:.0f}-{one.uid[-5:]}"
        numbered = {image.number: image for image in one.images}
        if len(numbered) < len(one.images):  # nbiatoolkit gives up there
            numbered = dict(enumerate(one.images, start=1))
        _write(folder / place, {f"{n}.dcm": image.read() for n, image in numbered.items()})


def nbiatoolkit_command(folder: Path, series: Iterable[DemoSeries]) -> None:
    """nbiatoolkit's command line: four levels of UIDs, of each the last 5 characters."""
    for one in series:
        place = f"{one.patient.id}/{one.study.uid[-5:]}/{one.uid[-5:]}"
        _write(folder / place, {f"{image.uid[-5:]}.dcm": image.read() for image in one.images})


def idc_index(folder: Path, series: Iterable[DemoSeries]) -> None:
    """idc-index: `%collection_id/%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID`, files
    called as the objects in the bucket."""
    for one in series:
        collection = one.collection.lower().replace("-", "_")
        place = f"{collection}/{one.patient.id}/{one.study.uid}/{one.modality}_{one.uid}"
        _write(folder / place, _objects(one))


def flat(folder: Path, series: Iterable[DemoSeries]) -> None:
    """Everything in one folder, without extensions, as idc-index does with an empty template."""
    for one in series:
        _write(folder, {name.removesuffix(".dcm"): data for name, data in _objects(one).items()})


LAYOUTS: Mapping[str, Layout] = {
    one.__name__: one
    for one in (
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
