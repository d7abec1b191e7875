"""Archives that list what the shipped catalog has, and have the series that `doctor` requests."""

from __future__ import annotations

import hashlib

from tcia_covid.catalog import series_catalog
from tcia_covid.core.models import Series
from tcia_covid.operations.doctor_archives import smallest_series
from tests.fakes.corpus import Corpus, DemoCollection, DemoImage, DemoPatient, DemoSeries, DemoStudy
from tests.fakes.s3 import S3Server
from tests.fakes.synthetic import ROOT, ImageSpec, padded_image


def cataloged_corpus() -> Corpus:
    """The smallest collection as the catalog lists it, a series of each other, and `held`."""
    entries = series_catalog.info().entries
    fewest = min(entries, key=lambda entry: entry.series)
    listed = [item for entry in entries for item in series_catalog.load(entry.collection)[:1]]
    listed += series_catalog.load(fewest.collection)
    collections = [DemoCollection(entry.collection) for entry in entries]
    return Corpus(collections, [*map(_listed_only, listed), requested_series()])


def requested_series() -> DemoSeries:
    """The series that `doctor` requests, with as many images and bytes as the real one."""
    series = smallest_series()
    count, size = series.image_count or 0, series.size or 0
    sizes = [size // count // 2 * 2] * (count - 1)
    sizes.append(size - sum(sizes))
    images = []
    for number, length in enumerate(sizes, 1):
        spec = ImageSpec(
            f"{ROOT}.88.{number}", series.uid, series.study, series.patient, number=number
        )
        content = padded_image(spec, length)
        md5 = hashlib.md5(content).hexdigest()
        images.append(DemoImage(spec.uid, len(content), md5, lambda content=content: content))
    return _series(series, tuple(images))


def put_in_buckets(server: S3Server) -> None:
    """Put the series into the bucket and folder that the catalog names."""
    series = smallest_series()
    bucket = series.bucket or ""
    server.make_bucket(bucket)
    for image in requested_series().images:
        server.put(bucket, f"{series.crdc_uuid}/{image.uid}.dcm", image.read())


def _listed_only(series: Series) -> DemoSeries:
    """A series that is in lists alone."""

    def read() -> bytes:
        raise AssertionError(f"series {series.uid} is only listed")

    count, size = series.image_count or 1, series.size or 0
    sizes = [size - (count - 1), *[1] * (count - 1)]
    return _series(
        series,
        tuple(DemoImage(f"{series.uid}.{n}", each, " ", read) for n, each in enumerate(sizes)),
    )


def _series(series: Series, images: tuple[DemoImage, ...]) -> DemoSeries:
    return DemoSeries(
        uid=series.uid,
        collection=series.collection,
        patient=DemoPatient(series.patient),
        study=DemoStudy(series.study, series.study_date),
        images=images,
        modality=series.modality,
        number=series.number,
    )
