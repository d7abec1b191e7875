"""Renders the HTML report: one page without any request to another file or host but thumbnails."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from tcia_covid.core.models import Check
from tcia_covid.core.redaction import printable
from tcia_covid.core.units import count, format_size
from tcia_covid.core.version import __version__
from tcia_covid.formats.geometry import Kind
from tcia_covid.operations.report import VIEWER, CollectionReport, Report, SeriesReport
from tcia_covid.output.html_report.plots import plots
from tcia_covid.store.disk import read_state
from tcia_covid.store.report_page import THUMBNAILS, ReportPage

KINDS = {
    Kind.VOLUME: "volume",
    Kind.IRREGULAR: "irregular slices",
    Kind.LOCALIZER: "scout",
    Kind.PROJECTION: "projection",
    Kind.FEW: "one or two slices",
    Kind.MULTI_FRAME: "multi-frame",
    Kind.NO_IMAGE: "no image",
}
"""The names of the kinds of series on the page."""
_NOT_READ = "not read"
_UNIQUE = {"uid", "thumbnail", "reason", "folder"}
"""The fields whose texts are not shared by several series."""
_NUMBERS = {"number", "images", "problems", "viewer", "collection"}
"""The fields that are no texts."""
_CHECKS = {
    Check.MD5: "MD5 of each image",
    Check.SERIES_MD5: "MD5 of the series",
    Check.SIZE: "count, size and header only",
}


def write_report(report: Report, page: ReportPage) -> None:
    """Write the page of a report.

    Raises:
        RequestError: a file of the user is in the way.
        DestinationError: it cannot be written.
    """
    thumbnails = {
        series.shown.thumbnail: collection.thumbnails / series.shown.thumbnail
        for collection in report.collections
        for series in collection.series
        if series.shown.thumbnail
    }
    page.write(render_page(report, page), thumbnails if page.is_folder else {})


def render_page(report: Report, page: ReportPage) -> str:
    """Render what follows the document type."""
    environment = Environment(
        loader=PackageLoader("tcia_covid.output.html_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": format_size, "counted": count, "plain": printable}
    style, script = (_template_text(environment, name) for name in ("report.css", "report.js"))
    text: str = environment.get_template("report.html").render(
        report=report,
        version=__version__,
        style=Markup(style),  # noqa: S704 - these two are files of this package
        script=Markup(script),  # noqa: S704
        policy=_policy(style, script),
        data=htmlsafe_json_dumps(_data(report, page), json.dumps, **_JSON),
        plots=plots,
        kinds=_kind_counts,
        health=_health,
        totals=_totals,
    )
    return text


_JSON = {"ensure_ascii": False, "separators": (",", ":")}


def _template_text(environment: Environment, name: str) -> str:
    assert environment.loader is not None  # noqa: S101 - given above
    text: str = environment.loader.get_source(environment, name)[0]
    return text


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows this style, this script and thumbnails only."""
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
    )


def _totals(series: Sequence[SeriesReport]) -> list[tuple[str, str]]:
    """Numbers of what is on disk, with their nouns."""
    return [
        (f"{len({each.series.patient for each in series}):,}", "patients"),
        (f"{len({each.series.study for each in series}):,}", "studies"),
        (f"{len(series):,}", "series"),
        (f"{sum(each.images for each in series):,}", "images"),
        (format_size(sum(each.size for each in series)), "on disk"),
    ]


def _kind_counts(collection: CollectionReport) -> list[tuple[str, int]]:
    counted = Counter(_kind(series) for series in collection.series)
    return [(name, counted[name]) for name in (*KINDS.values(), _NOT_READ) if counted[name]]


def _kind(series: SeriesReport) -> str:
    return KINDS[series.geometry.kind] if series.geometry else _NOT_READ


def _health(collection: CollectionReport) -> list[tuple[str, str, str]]:
    """What is wrong or missing: a level (`bad`, `warn`, `good`), a number with noun, and more."""
    status = collection.status
    unverified = status.complete.checks[Check.SIZE]
    lines = [
        ("bad", len(status.failed), "series", "failed; the reasons are below"),
        (
            "bad",
            len({*status.damaged, *status.missing_files}),
            "series",
            "damaged or with missing files; the next download repairs them",
        ),
        ("bad", len(status.supporting.missing), "supporting file", "missing"),
        ("warn", len(status.partial), "series", "partly downloaded"),
        ("warn", len(status.packages), "package", "partly downloaded"),
        ("warn", status.not_started, "series", "of the last request not downloaded yet"),
        (
            "warn",
            unverified,
            "series",
            "checked by count, size and header only: the archive provides no checksum",
        ),
        (
            "warn",
            len(status.outdated_reports),
            "report file",
            f"out of date ({', '.join(status.outdated_reports)}): the next download writes them",
        ),
        ("good", status.complete.series - unverified, "series", "complete and verified by MD5"),
    ]
    return [(level, count(number, noun), text) for level, number, noun, text in lines if number]


def _data(report: Report, page: ReportPage) -> dict[str, object]:
    """The series of all collections, a row each; texts that repeat are numbers in a table."""
    texts: dict[str, int] = {}
    columns: list[str] = []
    rows = []
    for index, collection in enumerate(report.collections):
        for series in collection.series:
            values = _row(collection, series, page) | {"collection": index}
            for name, value in values.items():
                if value is None:
                    values[name] = ""
                elif isinstance(value, str):
                    text = printable(value)
                    is_shared = text and name not in _UNIQUE
                    values[name] = texts.setdefault(text, len(texts)) if is_shared else text
            columns = [*values]
            rows.append([*values.values()])
    roots = [Path(collection.status.folder) for collection in report.collections]
    return {
        "columns": columns,
        "shared": [at for at, name in enumerate(columns) if name not in _UNIQUE | _NUMBERS],
        "texts": [*texts],
        "collections": [printable(each.status.name) for each in report.collections],
        "folders": [_href(root, page.file.parent) for root in roots],
        "thumbnails": f"{THUMBNAILS}/" if page.is_folder else "",
        "viewer": VIEWER,
        "series": rows,
    }


def _row(owner: CollectionReport, report: SeriesReport, page: ReportPage) -> dict[str, object]:
    """The values of a series, by the names of the page's script."""
    series, geometry, shown = report.series, report.geometry, report.shown
    problems = geometry.problems if geometry else ()
    usual = f"{series.patient}/{series.study}/{series.uid}"
    return {
        "patient": series.patient,
        "study": series.study,
        "uid": series.uid,
        "modality": series.modality,
        "description": series.description,
        "bodyPart": series.body_part,
        "number": series.number,
        "studyDate": series.study_date,
        "studyDescription": series.study_description,
        "scanner": " ".join(filter(None, (series.manufacturer, series.manufacturer_model))),
        "images": report.images,
        "size": format_size(report.size),
        "check": _CHECKS[report.check],
        "state": report.state,
        "kind": _kind(report),
        "problems": [[printable(each.detail), int(each.prevents_volume)] for each in problems],
        "facts": _facts(report),
        "thumbnail": _thumbnail(owner, shown.thumbnail, page),
        "reason": shown.problem,
        "folder": "" if report.folder == usual else report.folder,
        "viewer": int(bool(report.viewer)),
    }


def _facts(report: SeriesReport) -> str:
    geometry = report.geometry
    if geometry is None or not geometry.rows:
        return ""
    parts = [f"{geometry.columns} x {geometry.rows}"]
    if geometry.frames > 1:
        parts.append(f"{geometry.frames:,} frames")
    if geometry.pixel_spacing:
        parts.append(f"pixels {geometry.pixel_spacing[0]:.3g} mm")
    if geometry.slice_spacing:
        parts.append(f"slices every {geometry.slice_spacing:.3g} mm")
    return ", ".join(parts)


def _thumbnail(owner: CollectionReport, name: str, page: ReportPage) -> str:
    """The file's name in the folder of thumbnails, or its content."""
    if not name or page.is_folder:
        return name.removesuffix(".jpg")
    try:
        content = read_state(owner.thumbnails / name)
    except OSError:
        return ""
    return base64.b64encode(content).decode()


def _href(path: Path, start: Path) -> str:
    """A relative link from a page in the folder `start`."""
    try:
        relative = Path(os.path.relpath(path.resolve(), start.resolve()))
    except ValueError:  # on another drive
        return path.resolve().as_uri()
    return quote(relative.as_posix().encode("utf-8", "surrogateescape"))
