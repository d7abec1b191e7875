from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import pytest

from tcia_covid.core.errors import ChecksumError, ForeignImageError, InterruptedRunError
from tcia_covid.formats.nifti import Volume, read_volume
from tests.fakes import nifti as fake


def read(tmp_path: Path, content: bytes) -> Volume:
    path = tmp_path / fake.name(1)
    path.write_bytes(content)
    return read_volume(path)


def test_an_intact_volume_is_read_completely(tmp_path: Path) -> None:
    content = fake.volume(shape=(64, 64, 40))
    seen: list[int] = []
    path = tmp_path / "v.nii.gz"
    path.write_bytes(content)
    volume = read_volume(path, algorithms={"sha256"}, on_bytes=seen.append)
    assert (volume.size, volume.md5) == (len(content), hashlib.md5(content).hexdigest())
    assert volume.digests["sha256"] == hashlib.sha256(content).hexdigest()
    assert sum(seen) == len(content)


@pytest.mark.parametrize(
    "header",
    [
        {"order": ">"},
        {"datatype": 16, "bits": 32},
        {"datatype": 2, "bits": 8, "shape": (5, 3, 2, 2)},
        {"datatype": 1, "bits": 1, "shape": (3, 3), "voxels": b"\0\0"},
        {"offset": 0.0},
        {"offset": 368.0, "voxels": bytes(16 + 512)},
        {"voxels": bytes(512 + 100)},
    ],
)
def test_all_common_data_types_are_accepted(tmp_path: Path, header: dict[str, object]) -> None:
    assert read(tmp_path, fake.volume(**header)).size


def test_several_gzip_members_and_padding_are_accepted(tmp_path: Path) -> None:
    plain = fake.nifti()
    content = gzip.compress(plain[:500]) + gzip.compress(plain[500:]) + bytes(64)
    volume = read(tmp_path, content)
    assert volume.md5 == hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("end", [20, 200, -1, -4, -8])
def test_a_truncated_file_is_detected(tmp_path: Path, end: int) -> None:
    with pytest.raises(ChecksumError, match="is truncated"):
        read(tmp_path, fake.volume()[:end])


@pytest.mark.parametrize("place", [-1, -5, 200])
def test_a_changed_byte_is_detected(tmp_path: Path, place: int) -> None:
    content = bytearray(fake.volume())
    content[place] ^= 0x40
    with pytest.raises(ChecksumError):
        read(tmp_path, bytes(content))


def test_data_after_the_gzip_stream_is_detected(tmp_path: Path) -> None:
    with pytest.raises(ChecksumError, match="is damaged"):
        read(tmp_path, fake.volume() + b"<html>")


def test_fewer_voxels_than_the_header_declares_are_detected(tmp_path: Path) -> None:
    with pytest.raises(ChecksumError, match="863 bytes, its header declares 864"):
        read(tmp_path, fake.volume(voxels=bytes(511)))


def test_reading_a_bomb_ends_early(tmp_path: Path) -> None:
    content = fake.volume(voxels=bytes(200_000_000))
    seen: list[int] = []
    path = tmp_path / fake.name(1)
    path.write_bytes(content)
    with pytest.raises(ForeignImageError, match="far more bytes than the 864"):
        read_volume(path, on_bytes=seen.append)
    assert sum(seen) <= 256 * 1024


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>not found</html>", "not a gzip file"),
        (b"", "no NIfTI-1 header"),
        (fake.nifti(), "not a gzip file"),
        (gzip.compress(b"short", mtime=0), "has 5 bytes"),
        (gzip.compress(b"<html>" * 100, mtime=0), "no NIfTI-1 header"),
        (fake.volume(magic=b"ABCD"), "the mark 'n.1' is missing"),
        (fake.volume(magic=b"ni1\0"), "voxels are in another file"),
        (fake.volume(size=540), "NIfTI-2"),
        (fake.volume(dimensions=(0, 1, 1, 1, 1, 1, 1, 1)), "dimensions"),
        (fake.volume(dimensions=(8, 1, 1, 1, 1, 1, 1, 1)), "dimensions"),
        (fake.volume(dimensions=(3, 8, -8, 4, 1, 1, 1, 1)), "dimensions"),
        (fake.volume(datatype=4, bits=32, voxels=b""), "32 bits per voxel of type 4"),
        (fake.volume(datatype=9999), "type 9999"),
        (fake.volume(offset=float("nan")), "begin at byte nan"),
        (fake.volume(offset=352.5), "begin at byte 352.5"),
        (fake.volume(offset=-1.0), "begin at byte -1"),
    ],
)
def test_files_that_are_not_volumes_are_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(ForeignImageError, match=reason) as caught:
        read(tmp_path, content)
    assert fake.name(1) in caught.value.message


def test_a_broken_deflate_stream_is_a_checksum_error(tmp_path: Path) -> None:
    content = fake.volume()[:10] + b"\xff" * 100
    with pytest.raises(ChecksumError) as caught:
        read(tmp_path, content)
    assert isinstance(caught.value.__cause__, zlib.error)


def test_the_callback_can_end_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "v.nii.gz"
    path.write_bytes(fake.volume(shape=(64, 64, 64)))

    def stop(count: int) -> None:
        raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        read_volume(path, on_bytes=stop)
