"""The collection that is NIfTI, through the real command."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.command import QUICK, run
from tests.fakes import nifti as fake

NAME = "CT Images in COVID-19"
SITE = ["--site-url", "http://127.0.0.1:9", "--retries", "0"]


def _folder(home: Path) -> Path:
    folder = home / "received" / "package"
    folder.mkdir(parents=True)
    for patient in (1, 2):
        (folder / fake.name(patient)).write_bytes(fake.volume(patient))
    return home / "received"


def test_volumes_are_adopted_verified_and_shown(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    adopted = run("adopt", folder, "--collection", NAME, "-o", "data", "--json", home=tmp_path)
    assert adopted.returncode == 0, adopted.stderr
    assert json.loads(adopted.stdout)["volumes"]["adopted"] == 2
    verified = run("verify", "data", "--deep", home=tmp_path)
    assert verified.returncode == 0, verified.stdout
    assert "2" in run("status", "data", home=tmp_path).stdout


def test_a_damaged_volume_is_named_and_left(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    broken = folder / "package" / fake.name(2)
    broken.write_bytes(broken.read_bytes()[:-20])
    adopted = run("adopt", folder, "--collection", NAME, "-o", "data", home=tmp_path)
    assert adopted.returncode == 1
    assert fake.name(2) in adopted.stdout
    assert broken.exists()


def test_patients_and_volumes_are_counted_against_the_registry(tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text(
        "collections:\n  VOLUMES:\n    format: NIfTI\n    patients: 2\n    volumes: 2\n"
        "    aspera: {packages: 1, file_pattern: 'volume-covid19-A-NNNN[_0|_1|_dayDDD].nii.gz'}\n"
    )
    options = ["--registry", "registry.yaml"]
    folder = _folder(tmp_path)
    run("adopt", folder, "--collection", "VOLUMES", "-o", "data", *options, home=tmp_path)
    proved = run("verify", "data", "--against", "VOLUMES", *options, home=tmp_path)
    assert proved.returncode == 0, proved.stdout + proved.stderr
    assert "2 of 2 series of VOLUMES are complete" in proved.stdout
    next((tmp_path / "data").rglob(fake.name(2))).unlink()
    checked = run("verify", "data", "--against", "VOLUMES", *options, "--json", home=tmp_path)
    assert checked.returncode == 1
    (mismatch,) = json.loads(checked.stdout)["against"]["mismatches"]
    assert (mismatch["state"], mismatch["images"]) == ("changed", [fake.name(2)])


def test_without_ascli_the_run_says_how_to_get_the_files(tmp_path: Path) -> None:
    done = run("download", NAME, "-o", "data", *SITE, *QUICK[:2], home=tmp_path, PATH="/nowhere")
    assert done.returncode == 2
    assert "gem install aspera-cli" in done.stderr
    assert "cancerimagingarchive.net/collection/ct-images-in-covid-19" in done.stderr
    assert "Traceback" not in done.stderr
