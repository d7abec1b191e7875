"""The archive's contents as an index in memory; the bytes of a file are read when it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tcia_covid.demo.headers import series_of_files
from tcia_covid.demo.holdings import DemoCollection, DemoImage, DemoSeries

SHIPPED: Mapping[str, tuple[str, ...]] = {
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
"""Which of the files in pydicom's wheel stand in which collection.

They are named one by one, or by folders of fixed content, so that the counts in the
demonstration registry stay true whatever a later pydicom adds.
"""

_TITLES = {
    "DEMO-CT": "CT images among pydicom's test files",
    "DEMO-MULTI": "Two patients with radiographs, CT and MR, and two MR images on their own",
    "DEMO-OTHER": "Ultrasound, nuclear medicine, a segmentation and an ECG",
}


@dataclass(slots=True)
class Selection:
    """What NBIA's list calls may ask for; None asks for nothing in particular."""

    collection: str | None = None
    patient: str | None = None
    study: str | None = None
    series: str | None = None
    modality: str | None = None
    body_part: str | None = None
    manufacturer: str | None = None
    model: str | None = None

    def takes(self, series: DemoSeries) -> bool:
        """Whether `series` is asked for: names in any case, UIDs exactly, as NBIA compares."""
        return (
            _same(self.patient, series.patient.id)
            and self.study in (None, series.study.uid)
            and _same(self.modality, series.modality)
            and _same(self.body_part, series.body_part)
            and _same(self.manufacturer, series.manufacturer)
            and _same(self.model, series.model)
        )


class Corpus:
    """Collections and their series; `put` and `remove` change it while it is being served."""

    def __init__(
        self, collections: Iterable[DemoCollection], series: Iterable[DemoSeries] = ()
    ) -> None:
        self._collections = {item.name.upper(): item for item in collections}
        self._series: dict[str, DemoSeries] = {}
        self._by_collection: dict[str, dict[str, DemoSeries]] = {}
        self._by_image: dict[str, DemoSeries] = {}
        self.carts: dict[str, list[str]] = {}
        """Shared carts: the SeriesInstanceUIDs behind each name."""
        for item in series:
            self.put(item)

    @property
    def collections(self) -> list[DemoCollection]:
        """Collections that have a series."""
        return [self._collections[name] for name, members in self._by_collection.items() if members]

    def put(self, series: DemoSeries) -> None:
        """Add `series`, or set it in the place of the one with the same UID."""
        self.remove(series.uid)
        name = series.collection.upper()
        self._collections.setdefault(name, DemoCollection(series.collection))
        self._series[series.uid] = series
        self._by_collection.setdefault(name, {})[series.uid] = series
        self._by_image.update(dict.fromkeys((image.uid for image in series.images), series))

    def remove(self, uid: str) -> None:
        """Withdraw series `uid`, if it is there."""
        series = self._series.pop(uid, None)
        if series is not None:
            del self._by_collection[series.collection.upper()][uid]
            for image in series.images:
                self._by_image.pop(image.uid, None)

    def series(self, uid: str) -> DemoSeries | None:
        """The series with this SeriesInstanceUID."""
        return self._series.get(uid)

    def image(self, uid: str) -> DemoImage | None:
        """The image with this SOPInstanceUID."""
        series = self._by_image.get(uid)
        if series is None:
            return None
        return next(image for image in series.images if image.uid == uid)

    def collection(self, name: str) -> DemoCollection | None:
        """The collection of this name, in any case."""
        return self._collections.get(name.upper())

    def select(self, wanted: Selection) -> list[DemoSeries]:
        """The series that `wanted` asks for."""
        return [series for series in self._candidates(wanted) if wanted.takes(series)]

    def __iter__(self) -> Iterator[DemoSeries]:
        return iter(list(self._series.values()))

    def __len__(self) -> int:
        return len(self._series)

    def _candidates(self, wanted: Selection) -> Iterable[DemoSeries]:
        if wanted.series is not None:
            series = self._series.get(wanted.series)
            return [series] if series and _same(wanted.collection, series.collection) else []
        if wanted.collection is not None:
            return list(self._by_collection.get(wanted.collection.upper(), {}).values())
        return self


def corpus_of(files: Mapping[str, Iterable[Path | bytes]]) -> Corpus:
    """A corpus of the DICOM files, or the bytes of such, that stand behind each collection's name.

    What `series_of_files` leaves out is not in it.
    """
    series = (series_of_files(members, name) for name, members in files.items())
    return Corpus([DemoCollection(name) for name in files], chain.from_iterable(series))


def corpus_of_folder(folder: Path, collection: str) -> Corpus:
    """A corpus of one collection: every DICOM file below `folder`."""
    return corpus_of({collection: sorted(path for path in folder.rglob("*") if path.is_file())})


def demo_corpus() -> Corpus:
    """The demonstration archive: the real scanner files that pydicom's wheel brings along."""
    root = shipped_folder()
    series = (series_of_files(_shipped(root, patterns), name) for name, patterns in SHIPPED.items())
    return Corpus([_shipped_collection(name) for name in SHIPPED], chain.from_iterable(series))


def demo_registry() -> Path:
    """The registry file that describes the collections of `demo_corpus`."""
    return Path(__file__).with_name("registry.yaml")


def shipped_folder() -> Path:
    """Where the installed pydicom keeps its test files; nothing is fetched."""
    import pydicom.data  # noqa: PLC0415 -- costs half a second

    return Path(pydicom.data.__file__).parent / "test_files"


def _shipped(root: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(root.glob(pattern))


def _shipped_collection(name: str) -> DemoCollection:
    return DemoCollection(
        name=name,
        title=_TITLES[name],
        licence="MIT License",
        licence_url="https://github.com/pydicom/pydicom/blob/main/LICENSE",
        data_url="https://github.com/pydicom/pydicom",
        site="pydicom",
    )


def _same(wanted: str | None, value: str | None) -> bool:
    return wanted is None or (value is not None and wanted.upper() == value.upper())
