"""The page of the report: what it shows, that text stays text, and that it sends no request."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.licenses import License
from tcia_covid.core.models import Check, Series
from tcia_covid.formats.geometry import Finding, Geometry, Kind, Problem
from tcia_covid.operations.report import CollectionReport, Report, SeriesReport
from tcia_covid.operations.report_images import SeriesImages
from tcia_covid.operations.status import read_status
from tcia_covid.output.html_report.page import render_page
from tcia_covid.output.html_report.plots import Plot, plots
from tcia_covid.store.disk import Disk
from tcia_covid.store.report_page import ReportPage
from tests.unit.trees import NAME, grow, new_tree, series_of

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}\x00\u2028"


def series_report(number: int = 1, /, **facts: Any) -> SeriesReport:
    own = {"images": 5, "size": 2_000_000, "check": Check.MD5, "state": "complete"}
    own = {name: facts.pop(name, value) for name, value in own.items()}
    shown = facts.pop("shown", SeriesImages(Geometry(Kind.VOLUME, rows=512, columns=512)))
    return SeriesReport(series=series_of(number, **facts), folder="P/S/U", shown=shown, **own)


def report_of(tmp_path: Path, *series: SeriesReport, **facts: Any) -> Report:
    grow(new_tree(tmp_path), series_of(99))
    status = read_status(tmp_path, Registry(()))
    collection = facts.get("collection", Collection(NAME, "DICOM", NAME))
    single = CollectionReport(status.collections[0], collection, [], [*series], tmp_path)
    return Report(tmp_path, [single], status, "2026-01-01T00:00:00Z")


def render(tmp_path: Path, *series: SeriesReport, **facts: Any) -> str:
    page = ReportPage.at(tmp_path / "report.html", Disk())
    return render_page(report_of(tmp_path, *series, **facts), page)


class _Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def data_of(page: str) -> dict[str, Any]:
    """The data in a page, with the texts of each series in their places."""
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match
    data: dict[str, Any] = json.loads(match[1])
    for row in data["series"]:
        for at in data["shared"]:
            row[at] = "" if row[at] == "" else data["texts"][row[at]]
    data["series"] = [dict(zip(data["columns"], row, strict=True)) for row in data["series"]]
    return data


def test_hostile_texts_stay_text(tmp_path: Path) -> None:
    names = ("patient", "description", "study_description", "manufacturer", "modality", "body_part")
    problem = Problem(Finding.SPACING, HOSTILE)
    shown = SeriesImages(Geometry(Kind.IRREGULAR, (problem,)), problem=HOSTILE)
    hostile = series_report(1, shown=shown, **dict.fromkeys(names, HOSTILE))
    plain = series_report(1)
    license = License(HOSTILE, commercial_use=True)
    collection = Collection(HOSTILE, "DICOM", HOSTILE, license=license)
    expected = _Elements(render(tmp_path / "a", plain, collection=Collection("A", "DICOM", "B")))
    page = render(tmp_path / "b", hostile, collection=collection)
    tags = [tag for tag, _ in _Elements(page).found]
    for tag in ("script", "img", "style", "meta", "iframe"):
        assert tags.count(tag) == [tag for tag, _ in expected.found].count(tag)
    (shown_series,) = data_of(page)["series"]
    assert shown_series["description"] == HOSTILE.replace("\x00", " ").replace("\u2028", " ")
    assert "49" not in shown_series["description"]
    assert "onerror=alert(2)>" not in page


def test_the_page_sends_no_request_to_another_host(tmp_path: Path) -> None:
    page = render(tmp_path, series_report())
    elements = _Elements(page).found
    policy = next(
        attributes["content"]
        for tag, attributes in elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not [a for tag, a in elements if tag != "a" and {"src", "href", "srcset"} & a.keys()]
    assert "@import" not in page
    assert "url(" not in page


def test_a_series_in_the_data_has_all_that_the_page_shows(tmp_path: Path) -> None:
    geometry = Geometry(
        Kind.IRREGULAR,
        (Problem(Finding.SPACING, "uneven"), Problem(Finding.NUMBER_GAPS, "gaps", False)),
        rows=512,
        columns=256,
        slice_spacing=2.5,
        pixel_spacing=(0.7, 0.7),
    )
    series = series_report(
        1,
        patient="P1",
        description="Chest",
        manufacturer="ACME",
        manufacturer_model="One",
        number=3,
        crdc_uuid="u",
        check=Check.SIZE,
        shown=SeriesImages(geometry),
    )
    data = data_of(render(tmp_path, series))
    assert data["folders"] == [NAME]
    (row,) = data["series"]
    assert row == {
        "patient": "P1",
        "study": series.series.study,
        "uid": series.series.uid,
        "modality": "CT",
        "description": "Chest",
        "bodyPart": "",
        "number": 3,
        "studyDate": "",
        "studyDescription": "",
        "scanner": "ACME One",
        "images": 5,
        "size": "2.0 MB",
        "check": "count, size and header only",
        "state": "complete",
        "kind": "irregular slices",
        "problems": [["uneven", 1], ["gaps", 0]],
        "facts": "256 x 512, pixels 0.7 mm, slices every 2.5 mm",
        "thumbnail": "",
        "reason": "",
        "folder": "P/S/U",
        "viewer": 1,
        "collection": 0,
    }


def test_thumbnails_are_in_the_file_or_in_the_folder(tmp_path: Path) -> None:
    tmp_path.joinpath("0a.jpg").write_bytes(b"picture")
    series = series_report(1, shown=SeriesImages(None, "0a.jpg"))
    report = report_of(tmp_path, series)

    def data_in(name: str) -> dict[str, Any]:
        return data_of(render_page(report, ReportPage.at(tmp_path / name, Disk())))

    one_file = data_in("report.html")
    assert (one_file["thumbnails"], one_file["series"][0]["thumbnail"]) == ("", "cGljdHVyZQ==")
    folder = data_in("out")
    assert (folder["thumbnails"], folder["series"][0]["thumbnail"]) == ("thumbnails/", "0a")
    assert folder["folders"] == [f"../{NAME}"]


def test_license_health_and_totals_are_in_the_page(tmp_path: Path) -> None:
    license = License("CC BY-NC 4.0", commercial_use=False)
    collection = Collection(NAME, "DICOM", "A title", license=license, doi="10.1/2")
    page = render(tmp_path, series_report(1), series_report(2), collection=collection)
    assert "CC BY-NC 4.0" in page
    assert "no commercial use" in page
    assert "but not for commercial purposes" in page
    assert "complete and verified by MD5" in page
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "patients 2 studies 2 series 2 images 10 on disk 4.0 MB" in text


def bars(plot: Plot) -> dict[str, int]:
    return {bar.label: bar.value for bar in plot.bars}


def test_plots_count_series_patients_and_studies() -> None:
    series = [
        series_report(1, patient="A", modality="CT", images=1, study_date="2020-03-01"),
        series_report(2, patient="A", modality="CT", images=60, study_date="2020-03-09"),
        series_report(3, patient="B", modality=None, images=600, size=3 * 10**9),
    ]
    modality, images, sizes, studies, dates = map(bars, plots(series))
    assert modality == {"CT": 2, "unknown": 1}
    assert images == {
        "1": 1,
        "2 to 4": 0,
        "5 to 9": 0,
        "10 to 49": 0,
        "50 to 99": 1,
        "100 to 199": 0,
        "200 to 499": 0,
        "500 or more": 1,
    }
    assert (sizes["1 MB to 10 MB"], sizes["1 GB or more"]) == (2, 1)
    assert studies == {"1": 1, "2": 1}
    assert dates == {"2020-03": 2}


def test_many_values_become_ten_bars() -> None:
    many = [
        series_report(n, modality=f"M{n % 30}", study_date=f"{1990 + n % 25}-01-02")
        for n in range(1, 200)
    ]
    modality, *_, dates = plots(many)
    assert len(modality.bars) == len(dates.bars) == 10
    assert modality.bars[-1].label == "others"
    assert dates.bars[0].label == "earlier"
    assert sum(bar.value for bar in modality.bars) == sum(bar.value for bar in dates.bars) == 199
    assert max(bar.width for bar in modality.bars) == 100


def test_a_collection_without_series_has_a_page(tmp_path: Path) -> None:
    assert all(not plot.bars for plot in plots([]))
    assert data_of(render(tmp_path))["series"] == []


def test_a_series_of_no_archive(tmp_path: Path) -> None:
    empty = Series("1.2.3", "C", "", "1.2")
    series = SeriesReport(empty, "", 0, 0, Check.MD5, "complete", SeriesImages())
    assert data_of(render(tmp_path, series))["series"][0]["kind"] == "not read"
