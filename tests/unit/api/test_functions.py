"""The package from Python: plain values in, values and the package's own errors out."""

from __future__ import annotations

import ast
import inspect
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import tcia_covid.core.version
from tcia_covid.api.options import (
    Choices,
    ConnectionChoices,
    FilterChoices,
    StorageChoices,
    request_from,
)
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    InterruptedRunError,
    ManifestError,
    NotAvailableError,
    RequestError,
    UnreachableError,
    UsageError,
)
from tcia_covid.core.events import Event, RunFinished, SeriesStarted
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.request import Options
from tcia_covid.selection.shards import Shard
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Faults, SlowStart
from tests.fakes.nbia_servers import NAME, small_archive
from tests.fakes.scripted_server import closed_port


@pytest.fixture(name="archive")
def _archive(faults: Faults) -> Iterator[ArchiveServer]:
    with small_archive(faults, series=1, images=2) as server:
        yield server


@pytest.fixture(name="choices")
def _choices(archive: ArchiveServer) -> dict[str, Any]:
    return {"nbia_url": archive.base_url, "source": "nbia", "retries": 0, "no_fsync": True}


def test_a_download_gives_its_summary(choices: dict[str, Any], tmp_path: Path) -> None:
    events: list[Event] = []
    summary = tcia_covid.download(NAME, tmp_path, emit=events.append, first_patients=2, **choices)
    assert (summary.selected, summary.complete, summary.exit_code) == (2, 2, 0)
    assert isinstance(events[-1], RunFinished)
    assert len(list(tmp_path.rglob("*.dcm"))) == 4


def test_a_summary_says_where_each_series_is(choices: dict[str, Any], tmp_path: Path) -> None:
    one, two, three = tcia_covid.iter_series(NAME, **choices)
    tcia_covid.download(NAME, tmp_path, series=one.uid, **choices)
    summary = tcia_covid.download([one.uid, two.uid, "1.2.3"], tmp_path, **choices)
    states = {result.series: result.state for result in summary.results}
    assert states == {one.uid: "already-complete", two.uid: "complete", "1.2.3": "failed"}
    for result in summary.results:
        if result.state == "failed":
            assert result.path is None
        else:
            assert len(list(Path(str(result.path)).glob("*.dcm"))) == 2
    assert three.uid not in states


def test_status_and_verify_read_what_was_downloaded(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    tcia_covid.download(NAME, tmp_path, **choices)
    checked = tcia_covid.verify(
        tmp_path, deep=True, online=True, nbia_url=choices["nbia_url"], retries=0
    )
    assert checked.exit_code == 0
    assert checked.online is not None
    (collection,) = tcia_covid.status(tmp_path).collections
    assert collection.complete.series == 3


def test_a_plan_and_the_series_agree(choices: dict[str, Any], tmp_path: Path) -> None:
    planned = tcia_covid.plan(NAME, tmp_path, **choices)
    series = list(tcia_covid.iter_series(NAME, **choices))
    assert planned.selected.series == len(series) == 3
    assert [item.patient for item in series] == sorted(item.patient for item in series)


def test_several_targets_and_values_may_be_given(choices: dict[str, Any]) -> None:
    first, second, _ = tcia_covid.iter_series(NAME, **choices)
    both = tcia_covid.iter_series([first.uid, second.uid], **choices)
    assert {series.uid for series in both} == {first.uid, second.uid}
    patients = [first.patient, second.patient]
    assert len(list(tcia_covid.iter_series(NAME, patient=patients, **choices))) == 2


def test_a_series_that_no_archive_lists_is_an_error_and_no_shorter_list(
    choices: dict[str, Any],
) -> None:
    with pytest.raises(
        NotAvailableError, match=r"no archive lists a series, study or image 1\.2\.3 \(and 1 more"
    ):
        list(tcia_covid.iter_series(["1.2.3", "1.2.4"], **choices))


def test_a_series_that_no_archive_lists_counts_as_one_that_failed(
    choices: dict[str, Any], archive: ArchiveServer, tmp_path: Path
) -> None:
    known = [series.uid for series in archive.corpus]
    for uids, complete in (([*known, "1.2.3"], len(known)), (["1.2.3"], 0)):
        summary = tcia_covid.download(uids, tmp_path, **choices)
        assert (summary.selected, summary.complete) == (complete + 1, complete)
        assert (summary.failed, summary.remaining, summary.exit_code) == (1, 0, 1)
        assert [failure.series for failure in summary.failures] == ["1.2.3"]


def test_errors_are_the_packages_own(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}/v4"
    with pytest.raises(UnreachableError):
        tcia_covid.download("X", tmp_path, nbia_url=url, source="nbia", retries=0)
    with pytest.raises(RequestError):
        tcia_covid.download("CT Images in COVID-19", tmp_path)
    with pytest.raises(RequestError):
        tcia_covid.status(tmp_path)
    with pytest.raises(RequestError):
        tcia_covid.verify(tmp_path)


def test_a_run_that_is_stopped_raises_and_keeps_what_is_complete(
    choices: dict[str, Any], faults: Faults, tmp_path: Path
) -> None:
    faults.add(SlowStart("getImage", seconds=30, times=None))
    stop = CancelToken()

    def emit(event: Event) -> None:
        if isinstance(event, SeriesStarted):
            threading.Timer(0.1, stop.set).start()

    with pytest.raises(InterruptedRunError):
        tcia_covid.download(NAME, tmp_path, emit=emit, stop=stop, **choices)


def test_ctrl_c_in_the_callers_thread_stops_the_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    stop = CancelToken()
    monkeypatch.setattr("tcia_covid.api.functions.download_request", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tcia_covid.download(NAME, tmp_path, stop=stop)
    assert stop.is_set()


def test_the_library_neither_prints_nor_logs(
    choices: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = list(logging.getLogger().handlers)
    tcia_covid.download(NAME, tmp_path, **choices)
    tcia_covid.verify(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert not logging.getLogger("tcia_covid").handlers


def test_plain_values_make_a_request() -> None:
    request = request_from(
        "A",
        Path("data"),
        modality="CT",
        patient=["P1", "P2"],
        max_size="20GB",
        shard="2/8",
        max_rate="50MB",
        stall_timeout=5,
        registry=Path("mine.yaml"),
        update=True,
        no_fsync=True,
    )
    assert request.targets == ("A",)
    assert request.output == "data"
    assert request.filters == Filters(
        modalities=("CT",), patients=("P1", "P2"), max_size=20 * 10**9
    )
    options = request.options
    assert options.shard == Shard(2, 8)
    assert (options.http.max_rate, options.http.stall_timeout) == (50e6, 5)
    assert options.registry == ("mine.yaml",)
    assert options.update
    assert not options.durable


def test_other_collections_are_those_next_to_the_registry(archive: ArchiveServer) -> None:
    names = tcia_covid.other_collections(nbia_url=archive.base_url, retries=0)
    assert names == [NAME]


def test_values_of_a_filter_may_be_separated_by_commas() -> None:
    request = request_from("A", modality="CT, DX", patient=["P1,P2", "P3"], where="PatientSex=F,M")
    assert request.filters == Filters(
        modalities=("CT", "DX"), patients=("P1", "P2", "P3"), where=("PatientSex=F,M",)
    )


def test_left_out_and_none_are_the_default() -> None:
    assert request_from("X").options == Options()
    unset = request_from("X", jobs=None, source=None, max_rate=None, registry=None)
    assert unset.options == Options()


@pytest.mark.parametrize(
    "choices",
    [
        {"jobs": 0},
        {"retries": -1},
        {"stall_timeout": 0},
        {"max_rate": 0},
        {"max_rate": "fast"},
        {"max_size": "big"},
        {"max_series": -1},
        {"max_series": 0},
        {"first_patients": 0},
        {"layout": "{foo}"},
        {"shard": "0/8"},
        {"source": "mars"},
        {"description": "("},
    ],
)
def test_values_out_of_range_are_refused(choices: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        request_from("A", **choices)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"jobs": "4"}, "jobs must be a whole number, not '4'"),
        ({"first_patients": 2.5}, "first_patients must be a whole number, not 2.5"),
        ({"max_series": True}, "max_series must be a whole number, not True"),
        ({"stall_timeout": "5"}, "stall_timeout must be a number, not '5'"),
        ({"max_size": 1.5}, "max_size must be a whole number or text, not 1.5"),
        ({"update": "no"}, "update must be True or False, not 'no'"),
        ({"nbia_url": 7}, "nbia_url must be text, not 7"),
        ({"patient": 7}, "patient must be text, not 7"),
        ({"patient": ["P1", 7]}, "patient must be text, not 7"),
        ({"registry": [7]}, "registry must be text or a path, not 7"),
        ({"output": None}, "output must be text or a path, not None"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_in_a_sentence(
    choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        request_from("A", **choices)


@pytest.mark.parametrize(
    "choices", [{"nbia_url": "http://127.0.0.1/v4?a=b"}, {"idc_url": "ftp://127.0.0.1"}]
)
def test_invalid_addresses_are_refused_even_where_no_archive_is_asked(
    choices: dict[str, Any], archive: ArchiveServer, tmp_path: Path
) -> None:
    tcia_covid.download(NAME, tmp_path, nbia_url=archive.base_url, source="nbia", no_fsync=True)
    for act in (
        lambda: tcia_covid.plan("COVID-19-AR", **choices),
        lambda: list(tcia_covid.iter_series("COVID-19-AR", **choices)),
        lambda: tcia_covid.verify(tmp_path, **choices),
    ):
        with pytest.raises(UsageError, match=r"and have no query|an IDC endpoint is"):
            act()


def test_paths_are_targets_folders_and_registries_too(
    choices: dict[str, Any], archive: ArchiveServer, tmp_path: Path
) -> None:
    manifest, registry = tmp_path / "one.txt", tmp_path / "mine.yaml"
    manifest.write_text(f"{next(iter(archive.corpus)).uid}\n")
    registry.write_text("collections: {MINE: {format: DICOM}}\n")
    assert tcia_covid.download(manifest, tmp_path / "data", **choices).complete == 1
    assert len(list(tcia_covid.iter_series([manifest], **choices))) == 1
    for files in (registry, str(registry), [registry]):
        assert tcia_covid.load_registry(files).find("MINE")
    with pytest.raises(UsageError, match="directory must be text or a path"):
        tcia_covid.verify(7)  # type: ignore[arg-type]


def test_a_frozen_download_compares_series(choices: dict[str, Any], tmp_path: Path) -> None:
    listed = list(tcia_covid.iter_series(NAME, **choices))
    assert tcia_covid.download(listed, tmp_path, frozen=True, **choices).complete == len(listed)
    proof = tcia_covid.verify(tmp_path, against=listed).against
    assert proof is not None
    assert (proof.series.complete, proof.mismatches) == (len(listed), [])
    other = [replace(listed[0], size=1), *listed[1:]]
    summary = tcia_covid.download(other, tmp_path / "other", frozen=True, **choices)
    (failure,) = summary.failures
    assert (failure.series, failure.reason) == (listed[0].uid, "changed")
    with pytest.raises(ManifestError, match="is a collection, and --frozen needs the version"):
        tcia_covid.download("COVID-19-AR", tmp_path, frozen=True, **choices)


def test_a_collections_own_folder_is_no_output(choices: dict[str, Any], tmp_path: Path) -> None:
    tcia_covid.download(NAME, tmp_path, **choices)
    for act in (tcia_covid.download, tcia_covid.plan):
        with pytest.raises(UsageError, match="one collection's own folder") as refused:
            act(NAME, tmp_path / NAME, **choices)
        assert refused.value.hint.endswith(f": {tmp_path}")
    assert not (tmp_path / NAME / NAME).exists()


@pytest.mark.parametrize(
    "function",
    [
        *(tcia_covid.download, tcia_covid.plan, tcia_covid.iter_series),
        *(tcia_covid.verify, tcia_covid.status, tcia_covid.adopt, tcia_covid.report),
        *(tcia_covid.local_series, tcia_covid.files, tcia_covid.cite, tcia_covid.info),
        tcia_covid.Choices,
    ],
)
def test_hints_can_be_read_at_run_time(function: Any) -> None:
    assert get_type_hints(function)


@pytest.mark.parametrize(
    ("function", "choices"),
    [
        (tcia_covid.download, Choices),
        (tcia_covid.plan, Choices),
        (tcia_covid.iter_series, Choices),
        (tcia_covid.verify, FilterChoices),
        (tcia_covid.adopt, StorageChoices),
        (tcia_covid.other_collections, ConnectionChoices),
        (tcia_covid.doctor, ConnectionChoices),
    ],
)
def test_every_keyword_is_a_parameter_of_its_own(function: Any, choices: type) -> None:
    parameters = inspect.signature(function, follow_wrapped=False).parameters
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints, keywords = get_type_hints(function), get_type_hints(choices)
    assert {name: hints[name] for name in keywords} == keywords
    assert {parameters[name].default for name in keywords} == {None}
    assert ("update" in parameters) == (choices is Choices)


def test_local_functions_have_the_filters_that_are_offline() -> None:
    filters = set(FilterChoices.__annotations__) - set(ConnectionChoices.__annotations__)
    expected = {*filters - {"shard"}, "registry", "directory", "targets"}
    for function in (tcia_covid.local_series, tcia_covid.files):
        assert set(inspect.signature(function).parameters) == expected


@pytest.mark.parametrize("choices", [ConnectionChoices, FilterChoices, StorageChoices, Choices])
def test_every_keyword_is_documented(choices: type) -> None:
    (node,) = ast.parse(inspect.getsource(choices)).body
    assert isinstance(node, ast.ClassDef)
    for keyword, following in pairwise([*node.body, ast.Pass()]):
        if isinstance(keyword, ast.AnnAssign):
            assert isinstance(following, ast.Expr), ast.unparse(keyword)


def test_a_keyword_that_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'layout'"):
        tcia_covid.verify(tmp_path, layout="uid")  # type: ignore[call-arg]


def test_iterators_are_read_once() -> None:
    request = request_from(iter(["A", "B"]), patient=iter(["P1"]))  # type: ignore[arg-type]
    assert (request.targets, request.filters.patients) == (("A", "B"), ("P1",))


def test_a_choice_that_does_not_exist_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword 'modalities'"):
        request_from("A", modalities="CT")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean 'modality'"):
        request_from("A", modalty="CT")  # type: ignore[call-arg]


def test_files_of_another_program_are_adopted(
    choices: dict[str, Any], archive: ArchiveServer, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for series in archive.corpus:
        for image in series.images:
            (old / f"{image.uid}.dcm").write_bytes(image.read())
    counted: list[tuple[int, int]] = []
    result = tcia_covid.adopt(
        old, tmp_path / "new", on_progress=lambda *numbers: counted.append(numbers), **choices
    )
    assert (result.exit_code, result.series.adopted) == (0, 3)  # type: ignore[union-attr]
    assert sum(images for _, images in counted) == 6
    assert len(tcia_covid.files(tmp_path / "new")) == 6
    with pytest.raises(UsageError, match="mode must be one of"):
        tcia_covid.adopt(old, tmp_path / "new", mode="steal")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="not a known collection"):
        tcia_covid.adopt(old, tmp_path / "new", collection="no such")


def test_citations_and_facts_need_no_network() -> None:
    text = tcia_covid.cite(["COVID-19-AR", "ricord-1a"])
    assert "10.7937/TCIA.2020.PY71-5978" in text
    assert text.count("Maintaining and Operating") == 1
    assert tcia_covid.cite("covid-19-ar", "bibtex").startswith("@")
    facts = tcia_covid.info("ricord-1c")
    assert (facts["name"], facts["series"]) == ("MIDRC-RICORD-1C", 1241)
    assert facts["warnings"]
    with pytest.raises(UsageError, match="format must be one of"):
        tcia_covid.cite("covid-19-ar", "word")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="not a known collection"):
        tcia_covid.info("no such")
