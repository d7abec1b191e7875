"""The demo corpus: pydicom's own files, grouped by their headers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.corpus import Corpus, Filters, demo_corpus, series_of_files
from tests.fakes.synthetic import ImageSpec, synthetic_corpus, synthetic_image, with_unpadded_md5s


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return demo_corpus()


def image_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for number in range(3):
        spec = ImageSpec(f"1.2.{number}", "1.9", "1.8", "P 1", number=number)
        yield f"{number}.dcm", synthetic_image(spec)
    yield "again.dcm", synthetic_image(ImageSpec("1.2.0", "1.9", "1.8", "P 1", seed=5))
    yield "nobody.dcm", synthetic_image(ImageSpec("1.2.7", "1.9", "1.8", ""))
    yield "notes.txt", b"not DICOM at all"


def test_demo_collections_contain_ct_mr_and_cr(corpus: Corpus) -> None:
    found = Counter(series.modality for series in corpus)
    assert len(corpus.collections) == 3
    assert min(found["CT"], found["MR"], found["CR"]) >= 3


def test_demo_corpus_has_a_long_series_and_patients_with_several_series(corpus: Corpus) -> None:
    patients = Counter((series.collection, series.patient.id) for series in corpus)
    assert max(len(series.images) for series in corpus) == 50
    assert patients["DEMO-MULTI", "98890234"] == 9


def test_each_image_occurs_once_with_its_size_and_md5(corpus: Corpus) -> None:
    images = [image for series in corpus for image in series.images]
    assert len({image.uid for image in images}) == len(images)
    for image in images:
        content = image.read()
        assert (len(content), hashlib.md5(content).hexdigest()) == (image.size, image.md5)


def test_series_of_five_slices_has_the_known_md5s(corpus: Corpus) -> None:
    series = corpus.series("1.3.6.1.4.1.5962.1.1.0.0.0.1194734704.16302.0.6")
    assert series is not None
    assert {image.md5 for image in series.images} == {
        "311ee90de65b6459cc86fc6ced724a1f",
        "e76e469de73a8d72232c038ed9a50933",
        "9128159fe78af0a529f28deb5fbf13e6",
        "2046e40e6c742c8970c6ad04662b0e29",
        "5c86b2588bb349df98ac1d411df4360b",
    }


def test_files_are_grouped_into_series_and_others_are_left_out(tmp_path: Path) -> None:
    for name, content in image_files(tmp_path):
        (tmp_path / name).write_bytes(content)
    (series,) = series_of_files(sorted(tmp_path.iterdir()), "MINE")
    assert (series.uid, series.patient.id, series.study.uid) == ("1.9", "P 1", "1.8")
    assert [image.uid for image in series.images] == ["1.2.0", "1.2.1", "1.2.2"]
    assert series.images[0].md5 == hashlib.md5((tmp_path / "0.dcm").read_bytes()).hexdigest()
    assert series.images[1].read() == (tmp_path / "1.dcm").read_bytes()


def test_filters_compare_names_in_any_case_and_uids_exactly(corpus: Corpus) -> None:
    found = corpus.select(Filters(collection="demo-multi", modality="cr"))
    assert {series.patient.id for series in found} == {"77654033"}
    assert corpus.select(Filters(collection="DEMO-CT", series=found[0].uid)) == []
    assert corpus.select(Filters(body_part="cspine")) == found


def test_putting_a_series_again_replaces_it() -> None:
    corpus, other = synthetic_corpus(), synthetic_corpus(images_per_series=2)
    (first, *_) = corpus
    for series in other:
        corpus.put(series)
    changed = corpus.series(first.uid)
    assert changed is not None
    assert (len(changed.images), len(corpus)) == (2, 4)
    assert corpus.image(first.images[3].uid) is None


def test_a_collection_without_series_is_not_listed() -> None:
    corpus = synthetic_corpus(patients=1, series_per_patient=1)
    (only,) = corpus
    corpus.remove(only.uid)
    assert corpus.collections == []


def test_synthetic_images_are_dicom_with_the_given_header(tmp_path: Path) -> None:
    spec = ImageSpec("1.2.3", "1.2", "1.1", "Ångström / 7", "CR", 4, "AP", 50, 40, 9)
    (tmp_path / "image").write_bytes(synthetic_image(spec))
    (series,) = series_of_files([tmp_path / "image"], "X")
    assert (series.uid, series.modality, series.description) == ("1.2", "CR", "AP")
    assert series.patient.id == "Ångström / 7"
    assert series.images[0].number == 4
    assert series.images[0].size == len(synthetic_image(spec)) > 50 * 40 * 2


def test_synthetic_corpora_are_reproducible_and_contain_no_image_twice() -> None:
    one, two = synthetic_corpus(seed=3), synthetic_corpus(seed=3)
    hashes = [image.md5 for series in one for image in series.images]
    assert hashes == [image.md5 for series in two for image in series.images]
    assert len(set(hashes)) == 16


def test_unhashed_corpora_know_the_size_of_their_images() -> None:
    (series, *_) = synthetic_corpus(hashed=False)
    assert [image.size for image in series.images] == [len(image.read()) for image in series.images]


def test_unpadded_md5s_have_no_leading_zeros() -> None:
    (series, *_) = synthetic_corpus()
    stored = [image.md5 or "" for image in with_unpadded_md5s(series).images]
    assert min(len(md5) for md5 in stored) < 32
