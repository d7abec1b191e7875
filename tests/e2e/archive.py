"""A fake of the archive of record: small series under the names of the real collections."""

from __future__ import annotations

from tcia_covid.catalog import series_catalog
from tcia_covid.core.models import Series
from tests.fakes.corpus import Corpus, DemoCollection, DemoPatient, DemoSeries, DemoStudy
from tests.fakes.synthetic import ROOT, ImageSpec, demo_image

SERIES = 10
"""Series of each collection that it has."""
IMAGES = 2


def real_names() -> Corpus:
    """The first series of each DICOM collection, with their real UIDs and small images."""
    names = [entry.collection for entry in series_catalog.info().entries]
    listed = [item for name in names for item in series_catalog.load(name)[:SERIES]]
    series = [stand_in(item, number) for number, item in enumerate(listed)]
    return Corpus([DemoCollection(name) for name in names], series)


def stand_in(listed: Series, number: int) -> DemoSeries:
    """A small series with the UIDs of a real one."""
    modality = listed.modality or "CT"
    images = tuple(
        demo_image(
            ImageSpec(
                uid=f"{ROOT}.77.{number}.{place}",
                series=listed.uid,
                study=listed.study,
                patient=listed.patient,
                modality=modality,
                number=place,
                seed=1000 * number + place,
                study_id="1",
                study_time="120000",
                position=f"-100\\-100\\{place}",
            )
        )
        for place in range(1, IMAGES + 1)
    )
    return DemoSeries(
        uid=listed.uid,
        collection=listed.collection,
        patient=DemoPatient(listed.patient),
        study=DemoStudy(listed.study, listed.study_date),
        images=images,
        modality=modality,
        number=listed.number or 1,
    )
