"""The names of volumes, and the hashes that packages publish."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.formats.nifti import read_volume
from tcia_covid.nifti.scan import Checksums, VolumePattern
from tests.fakes import nifti as fake


@pytest.mark.parametrize(
    ("file", "patient"),
    [
        ("volume-covid19-A-0000.nii.gz", "0000"),
        ("volume-covid19-A-0028_1.nii.gz", "0028"),
        ("volume-covid19-A-0738_day052.nii.gz", "0738"),
        ("volume-covid19-A-0738_day52.nii.gz", None),
        ("volume-covid19-A-001.nii.gz", None),
        ("volume-covid19-A-0001_2.nii.gz", None),
        ("volume-covid19-A-0001_ct.nii.gz", None),
        ("volume-covid19-A-0001.nii", None),
        ("volume-covid19-B-0001.nii.gz", None),
        ("VOLUME-COVID19-A-0001.nii.gz", None),
        ("volume-covid19-A-\u0660\u0661\u0662\u0663.nii.gz", None),
        (".nii.gz", None),
    ],
)
def test_names_contain_the_patient(file: str, patient: str | None) -> None:
    name = VolumePattern(fake.PATTERN).read(file)
    assert (name.patient if name else None) == patient
    if name:
        assert name.file == file
        assert name.subject == f"volume-covid19-A-{patient}"


def test_a_collection_without_a_pattern_accepts_any_safe_name() -> None:
    pattern = VolumePattern(None)
    name = pattern.read("sub-01_ct.nii.gz")
    assert name is not None
    assert (name.subject, name.patient) == ("sub-01_ct", "sub-01_ct")
    assert pattern.read("..nii.gz") is None
    assert pattern.read("a b.nii.gz") is None
    assert pattern.text == "*.nii.gz"


def test_a_pattern_may_have_capitals_and_no_number() -> None:
    name = VolumePattern("DATA_N.nii.gz").read("DATA_N.nii.gz")
    assert name is not None
    assert name.patient == "DATA_N"


def test_sums_are_read_in_every_common_format(tmp_path: Path) -> None:
    first, second, third, fourth = (fake.name(n) for n in range(4))
    digest = {size: "0123456789abcdef" * (size // 16) for size in (32, 40, 64, 128)}
    digest[40] = "a" * 40
    path = tmp_path / "package.sums"
    path.write_bytes(
        b"\xef\xbb\xbf"
        + f"{digest[32].upper()}  CT/sub/{first}\r\n".encode()
        + f"{digest[40]} *{second}\n".encode()
        + f"SHA256 (x/{third}) = {digest[64]}\n".encode()
        + f"\\{digest[128]}\tCT\\{fourth}\n".encode()
        + f"{digest[32]}  CT/readme.txt\nnonsense\n{digest[32][:-1]}  {first}\n".encode()
        + b"x" * 10_000
    )
    sums = Checksums(VolumePattern(fake.PATTERN))
    sums.read(path)
    assert sums.files == {first, second, third, fourth}
    assert [sums.algorithms(name) for name in (first, second, third, fourth)] == [
        {"md5"},
        {"sha1"},
        {"sha256"},
        {"sha512"},
    ]
    assert sums.algorithms("other") == set()


def test_a_volume_may_have_any_of_its_published_hashes(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(fake.volume())
    volume = read_volume(path)
    path = tmp_path / "p.sums"
    sums = Checksums(VolumePattern(fake.PATTERN))
    assert sums.agree(fake.name(1), volume.digests) is None
    path.write_text(f"{'0' * 32}  {fake.name(1)}\n")
    sums.read(path)
    assert sums.agree(fake.name(1), volume.digests) is False
    path.write_text(f"{volume.md5}  {fake.name(1)}\n")
    sums.read(path)
    assert sums.agree(fake.name(1), volume.digests) is True
    assert sums.agree(fake.name(1), {"sha256": "0" * 64}) is None
