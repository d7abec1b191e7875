"""Row 25: a series that changed in the archive after the download."""

from __future__ import annotations

from dataclasses import replace

from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.http.client import Client
from tcia_covid.operations.verify import VerifyResult, verify_directory
from tests.fakes.corpus import DemoSeries
from tests.fakes.nbia_faults import Status
from tests.fakes.synthetic import ImageSpec, demo_image
from tests.faults.scenario import Scenario


def test_fault_25_a_changed_series_is_reported_and_the_old_version_stays(
    scenario: Scenario,
) -> None:
    scenario.download()
    before = scenario.files()
    old = scenario.series
    scenario.corpus.put(replace(old, images=old.images[:5]))
    summary = scenario.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "changed"
    assert "--update" in summary.failures[0].hint
    assert scenario.files() == before


def test_fault_25_update_fetches_what_changed(scenario: Scenario) -> None:
    scenario.download()
    scenario.corpus.put(replace(scenario.series, images=scenario.series.images[:5]))
    scenario.assert_complete(scenario.download(update=True))
    assert scenario.asked("getImage") == 0


def _with_other_bytes(scenario: Scenario, *numbers: int) -> DemoSeries:
    """The first series with other pixels in some images, of the same size and date."""
    series = scenario.series
    images = list(series.images)
    for number in numbers:
        spec = ImageSpec(
            images[number].uid, series.uid, series.study.uid, series.patient.id, "CT", number + 1,
            "CT 1", 256, 256, seed=99,
        )  # fmt: skip
        assert demo_image(spec).size == images[number].size
        images[number] = demo_image(spec)
    return replace(series, images=tuple(images))


def _verify_online(scenario: Scenario) -> VerifyResult:
    client = Client(scenario.settings)
    try:
        return verify_directory(scenario.output, archive=NbiaArchive(client, scenario.url))
    finally:
        client.close()


def test_fault_25_a_change_that_only_the_hash_shows_is_noted_by_verify_and_then_updated(
    scenario: Scenario,
) -> None:
    scenario.download()
    scenario.corpus.put(_with_other_bytes(scenario, 2))
    assert scenario.download().exit_code == 0, "lists say nothing of it"
    assert _verify_online(scenario).exit_code == 1
    (failure,) = scenario.download().failures
    assert (failure.reason, "MD5 over its images differs" in failure.detail) == ("changed", True)
    scenario.assert_complete(scenario.download(update=True))
    assert scenario.asked("getSingleImage") == 1
    assert _verify_online(scenario).exit_code == 0
    scenario.assert_complete(scenario.download())


def test_fault_25_a_hash_that_is_right_again_ends_the_note(scenario: Scenario) -> None:
    scenario.download()
    before = scenario.series
    scenario.corpus.put(_with_other_bytes(scenario, 2))
    _verify_online(scenario)
    scenario.corpus.put(before)
    assert _verify_online(scenario).exit_code == 0
    scenario.assert_complete(scenario.download())


def test_fault_25_a_repair_does_not_mix_versions(
    scenario: Scenario,
) -> None:
    scenario.download()
    scenario.corpus.put(_with_other_bytes(scenario, 1, 2))
    scenario.image_file(2).unlink()
    for _ in range(2):
        (failure,) = scenario.download().failures
        assert failure.reason == "changed"
        assert "--update" in failure.hint
    scenario.assert_complete(scenario.download(update=True))


def test_fault_25_a_repair_may_get_the_current_version_if_all_other_images_are_of_it(
    scenario: Scenario,
) -> None:
    scenario.download()
    scenario.corpus.put(_with_other_bytes(scenario, 2))
    scenario.image_file(2).unlink()
    scenario.assert_complete(scenario.download())


def test_fault_25_an_update_that_fails_leaves_the_old_version(scenario: Scenario) -> None:
    scenario.download()
    before = scenario.files()
    fewer = replace(scenario.series, images=scenario.series.images[:5])
    scenario.corpus.put(fewer)
    scenario.add(Status(("getSOPInstanceUIDs", "getImage", "getSingleImage"), code=500, times=None))
    summary = scenario.download(update=True)
    assert summary.exit_code != 0
    assert scenario.files() == before
    scenario.heal()
    scenario.assert_complete(scenario.download(update=True))


def test_fault_25_an_interrupted_update_is_still_reported_without_update(
    scenario: Scenario,
) -> None:
    scenario.download()
    before = scenario.files()
    scenario.corpus.put(scenario.series_with_one_image_more())
    scenario.add(Status("getSingleImage", code=503, times=None))
    scenario.download(update=True)
    assert scenario.tree.series_in_staging() == {scenario.series.uid}
    scenario.heal()
    summary = scenario.download()
    assert summary.failures[0].reason == "changed"
    assert scenario.files() == before
    scenario.assert_complete(scenario.download(update=True))


def test_fault_25_an_image_that_was_submitted_again_is_noticed_by_its_date(
    scenario: Scenario,
) -> None:
    scenario.download()
    series = scenario.series
    scenario.corpus.put(replace(_with_other_bytes(scenario, 2), submitted="2026-01-01"))
    (failure,) = scenario.download().failures
    assert failure.reason == "changed"
    assert f"until {series.submitted} are on disk, 2026-01-01 are listed" in failure.detail
    scenario.assert_complete(scenario.download(update=True))
    assert scenario.asked("getSingleImage") <= 1
    scenario.assert_complete(scenario.download())
