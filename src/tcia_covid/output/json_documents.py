"""The JSON documents of the commands: docs/json.md explains each key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from tcia_covid.catalog.citation import format_citation, references
from tcia_covid.core.errors import NotDicomError, TciaCovidError
from tcia_covid.core.models import Check, name_series
from tcia_covid.core.version import __version__

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from tcia_covid.catalog.collections import Collection, Registry, Resource
    from tcia_covid.core.summary import Comparison, Summary, SupportingFiles
    from tcia_covid.nifti.adopt import VolumeAdoption
    from tcia_covid.operations.adopt import AdoptResult
    from tcia_covid.operations.doctor import DoctorResult
    from tcia_covid.operations.files import LocalSelection
    from tcia_covid.operations.plan import GroupPlan, Plan
    from tcia_covid.operations.relayout import RelayoutResult
    from tcia_covid.operations.report import CollectionReport, ReportResult
    from tcia_covid.operations.status import CollectionStatus, Progress, StatusResult
    from tcia_covid.operations.verify import VerifyResult
    from tcia_covid.selection.resolve import Selection

Document = dict[str, Any]


def error_document(command: str, error: TciaCovidError) -> Document:
    """Return the document of a command that an error ended."""
    return {"command": command or None, "exit_code": error.exit_code, "error": error_object(error)}


def error_object(error: TciaCovidError) -> Document:
    """Return an error's type, message and hint."""
    fields: Document = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, NotDicomError):
        fields["commands"] = list(error.commands)
    return fields


def summary_document(summary: Summary) -> Document:
    """Return the document of `download`."""
    document: Document = {
        "command": "download",
        "targets": summary.targets,
        "resolved": [asdict(target) for target in summary.resolved],
        "output": summary.output,
        "exit_code": summary.exit_code,
        "seconds": summary.seconds,
        "series": {
            "selected": summary.selected,
            "complete": summary.complete,
            "already_complete": summary.already_complete,
            "failed": summary.failed,
            "remaining": summary.remaining,
        },
        "images": {"expected": summary.images_expected, "stored": summary.images_stored},
        "bytes": {"stored": summary.bytes_stored, "received": summary.bytes_received},
        "partial": {"series": summary.partial_series, "bytes": summary.partial_bytes},
        "checked": {"md5": summary.checked_md5, "size": summary.checked_size},
        "sources": summary.sources,
        "supporting": [_supporting(files) for files in summary.supporting],
        "results": summary.results,
        "failures": summary.failures,
        "catalog_differences": [
            _comparison(comparison) for comparison in summary.catalog_differences
        ],
        "outdated_reports": summary.outdated_reports,
        "notices": summary.notices,
    }
    if summary.error is not None:
        document["error"] = error_object(summary.error)
    return document


def _supporting(supporting: SupportingFiles) -> Document:
    fetched = len(supporting.fetched)
    return {
        "collection": supporting.collection,
        "fetched": fetched,
        "already_complete": len(supporting.files) - fetched,
        "failed": len(supporting.failures),
        "files": [_object(file) for file in supporting.files],
    }


def _object(value: DataclassInstance) -> Document:
    """Return a value's fields; all documents call sizes `bytes`."""
    return {"bytes" if name == "size" else name: item for name, item in asdict(value).items()}


def _record(value: Any) -> Any:
    """Return an entry of the registry as dictionaries; all documents call sizes `bytes`."""
    if hasattr(value, "_asdict"):
        fields = value._asdict().items()
        return {"bytes" if name == "size" else name: _record(item) for name, item in fields}
    return [_record(item) for item in value] if isinstance(value, tuple) else value


def plan_document(plan: Plan, command: str = "plan") -> Document:
    """Return the document of `plan`."""
    return {
        "command": command,
        "dry_run": True,
        "targets": list(plan.targets),
        "resolved": [asdict(target) for target in plan.resolved],
        "output": plan.output,
        "exit_code": plan.exit_code,
        "collections": [_group(group) for group in plan.groups],
        **_amounts(plan),
        "disk": {"free": plan.free, "needed": plan.needed, "enough": plan.fits},
        "time": {"seconds": plan.seconds, "rate": plan.rate, "assumed": plan.rate_is_assumed},
        "results": (result for group in plan.groups for result in group.results),
        "failures": plan.failures,
        "notices": plan.notices,
    }


def _group(group: GroupPlan) -> Document:
    return {
        "collection": group.name,
        "patients": group.patients,
        "studies": group.studies,
        **_amounts(group),
        "modalities": {name: _object(amount) for name, amount in group.modalities.items()},
        "licenses": [_record(license) for license in group.licenses],
        "warnings": group.warnings,
    }


def _amounts(plan: Plan | GroupPlan) -> Document:
    amounts = {
        "selected": plan.selected,
        "already_complete": plan.complete,
        "partial": plan.partial,
        "to_fetch": plan.to_fetch,
    }
    return {
        key: {name: getattr(amount, field) for name, amount in amounts.items()}
        for key, field in (("series", "series"), ("images", "images"), ("bytes", "size"))
    }


def comparison_document(targets: Sequence[str], comparisons: Sequence[Comparison]) -> Document:
    """Return the document of `plan --compare`."""
    return {
        "command": "plan",
        "targets": list(targets),
        "exit_code": int(any(comparison.differs for comparison in comparisons)),
        "collections": [_comparison(comparison) for comparison in comparisons],
    }


def _comparison(comparison: Comparison) -> Document:
    return {
        "collection": comparison.collection,
        "series": {"nbia": comparison.listed, "catalog": comparison.known, "same": comparison.same},
        "only_nbia": comparison.only_nbia,
        "only_catalog": comparison.only_catalog,
        "different": [
            {
                "SeriesInstanceUID": series.series,
                "ImageCount": dict(zip(("nbia", "catalog"), series.images, strict=True)),
                "FileSize": dict(zip(("nbia", "catalog"), series.sizes, strict=True)),
            }
            for series in comparison.different
        ],
    }


def files_document(selection: LocalSelection) -> Document:
    """Return the document of `files`."""
    return {
        "command": "files",
        "directory": selection.directory,
        "exit_code": selection.exit_code,
        "series": [series.to_dict() for series in selection.series],
        "missing": selection.missing,
    }


def relayout_document(result: RelayoutResult) -> Document:
    """Return the document of `relayout`."""
    document = _object(result)
    document["renamed"] = [{"from": old, "to": new} for old, new in result.renamed]
    document["skipped"] = [name_series(entry) for entry in document["skipped"]]
    return {"command": "relayout", "exit_code": result.exit_code, **document}


def adopt_document(result: AdoptResult) -> Document:
    """Return the document of `adopt`."""
    return _result("adopt", result, "adopted", ("incomplete", "damaged", "foreign"))


def verify_document(result: VerifyResult) -> Document:
    """Return the document of `verify`."""
    against = result.against
    result = replace(result, against=None)
    document = _result("verify", result, "checked", ("damage", "unexpected"))
    document["bytes"]["read"] = document.pop("read")
    if against is not None:
        # `asdict` would copy each of a million mismatches.
        fields = asdict(replace(against, mismatches=[]))
        document["against"] = {**fields, "mismatches": against.mismatches}
    return document


def _result(
    command: str,
    result: AdoptResult | VolumeAdoption | VerifyResult,
    size_key: str,
    of_series: Sequence[str],
) -> Document:
    """Return the document of a result whose fields are the keys; `size_key` names its bytes."""
    fields = asdict(result)
    sizes = {size_key: fields.pop("size")}
    for name in of_series:
        fields[name] = [name_series(entry) for entry in fields[name]]
    return {"command": command, "exit_code": result.exit_code, "bytes": sizes, **fields}


def volume_adoption_document(result: VolumeAdoption) -> Document:
    """Return the document of `adopt` for a collection of NIfTI volumes."""
    document = _result("adopt", result, "adopted", ("failures",))
    inventory = document.pop("inventory")
    for name in ("patients", "volumes"):
        counts = {"in_layout": inventory[name], "expected": inventory[f"{name}_expected"]}
        document[name] |= counts
    return document


def status_document(result: StatusResult, *, with_missing: bool = False) -> Document:
    """Return the document of `status`; `with_missing`: of `status --missing`."""
    return {
        "command": "status",
        "output": result.directory,
        "exit_code": 0,
        "collections": [_status(collection) for collection in result.collections],
        "unchecked": [asdict(folder) for folder in result.unchecked],
        **({"missing": [s.to_dict() for s in result.missing_series]} if with_missing else {}),
    }


def _status(collection: CollectionStatus) -> Document:
    complete, expected = collection.complete, collection.expected
    return {
        "collection": collection.name,
        "folder": collection.folder,
        "series": {
            "complete": complete.series,
            "partial": len(collection.partial),
            "damaged": len(collection.damaged),
            "missing_files": len(collection.missing_files),
            "failed": len(collection.failed),
            "missing": len(collection.missing),
            "expected": expected.series if expected else None,
        },
        "images": {"stored": complete.images, "expected": expected.images if expected else None},
        "bytes": {"stored": complete.size, "expected": expected.size if expected else None},
        "checked": {
            "md5": complete.checks[Check.MD5] + complete.checks[Check.SERIES_MD5],
            "series_md5": complete.checks[Check.SERIES_MD5],
            "size": complete.checks[Check.SIZE],
        },
        "sources": dict(complete.sources),
        "last_completed": complete.last_completed,
        "partial": [name_series(_object(series)) for series in collection.partial],
        "packages": [_object(package) for package in collection.packages],
        "damaged": collection.damaged,
        "missing_files": collection.missing_files,
        "failures": [failure.to_dict() for failure in collection.failed],
        "supporting": _object(collection.supporting),
        "outdated_reports": collection.outdated_reports,
        "requested": collection.requested,
        "shards": collection.shards,
        "not_started": collection.not_started,
        "request": _progress(collection.request),
        "whole": _progress(collection.whole),
        "running": collection.running and asdict(collection.running),
    }


def report_document(result: ReportResult) -> Document:
    """Return the document of `report`."""
    return {
        "command": "report",
        "output": str(result.report.directory),
        "exit_code": 0,
        "seconds": result.seconds,
        "page": str(result.page),
        "collections": [_report(collection) for collection in result.report.collections],
    }


def _report(collection: CollectionReport) -> Document:
    kinds = Counter(series.geometry.kind.value for series in collection.series if series.geometry)
    return {
        "collection": collection.status.name,
        "folder": collection.status.folder,
        "series": len(collection.series),
        "images": sum(series.images for series in collection.series),
        "bytes": sum(series.size for series in collection.series),
        "thumbnails": sum(bool(series.shown.thumbnail) for series in collection.series),
        "kinds": dict(kinds),
        "geometry_problems": [
            {
                "SeriesInstanceUID": series.series.uid,
                "folder": series.folder,
                "problems": [asdict(problem) for problem in series.geometry.problems],
            }
            for series in collection.series
            if series.geometry and series.geometry.problems
        ],
        "not_shown": [
            {"SeriesInstanceUID": series.series.uid, "reason": series.shown.problem}
            for series in collection.without_thumbnail
        ],
    }


def _progress(progress: Progress | None) -> Document | None:
    if progress is None:
        return None
    return {
        "percent": progress.percent,
        "series": {"complete": progress.series, "expected": progress.of_series},
        "bytes": {"stored": progress.size, "expected": progress.of_size},
    }


def doctor_document(result: DoctorResult) -> Document:
    """Return the document of `doctor`."""
    return {
        "command": "doctor",
        "version": __version__,
        "output": result.output,
        "exit_code": result.exit_code,
        "seconds": result.seconds,
        "environment": dict(result.environment),
        "series": result.series.to_dict(),
        "facts": [asdict(fact) for fact in result.facts],
        "counts": {
            outcome.value: result.counts[outcome] for outcome in type(result.facts[0].outcome)
        },
    }


def series_document(targets: Sequence[str], selected: Selection, exit_code: int) -> Document:
    """Return the document of `series`."""
    return {
        "command": "series",
        "targets": list(targets),
        "resolved": [asdict(target) for target in selected.resolved],
        "exit_code": exit_code,
        "series": selected.series,
        "failures": selected.failures,
        "notices": selected.notices,
    }


def list_document(registry: Registry, others: Sequence[str] | None = None) -> Document:
    """Return the document of `list`; `others` are None without `--all`."""
    return {
        "command": "list",
        "exit_code": 0,
        "collections": [_short(collection) for collection in registry],
        "resources": list(map(_record, registry.resources)),
        **({} if others is None else {"other_collections": list(others)}),
    }


def _short(collection: Collection) -> Document:
    names = (
        *("name", "title", "about", "format", "doi"),
        *("patients", "studies", "series", "images", "volumes"),
    )
    return {
        **{name: getattr(collection, name) for name in names},
        "license": collection.license and collection.license.name,
        "commercial_use": collection.license and collection.license.commercial_use,
        "modalities": list(collection.modalities),
        "bytes": collection.size,
        "sources": list(sources(collection)),
    }


def sources(collection: Collection) -> tuple[str, ...]:
    """Return the names of the archives that have a collection."""
    places = {"idc": collection.idc, "nbia": collection.nbia, "aspera": collection.aspera}
    return tuple(name for name, place in places.items() if place)


def cite_document(collections: Sequence[Collection], registry: Registry) -> Document:
    """Return the document of `cite`."""
    return {
        "command": "cite",
        "exit_code": 0,
        "collections": [
            {
                "collection": collection.name,
                "references": [
                    {
                        "role": reference.role.name.lower(),
                        "key": reference.key,
                        "text": reference.publication.text,
                        "doi": reference.publication.doi,
                    }
                    for reference in references(collection, registry)
                ],
                "bibtex": format_citation(collection, registry, "bibtex"),
                "csl_json": json.loads(format_citation(collection, registry, "csl-json")),
            }
            for collection in collections
        ],
    }


def info_document(
    collection: Collection, warnings: Sequence[str] = (), resources: Sequence[Resource] = ()
) -> Document:
    """Return the document of `info`."""
    fields: Document = _record(collection)
    fields["sources"] = list(sources(collection))
    fields["warnings"] = list(warnings)
    fields["resources"] = list(map(_record, resources))
    return {"command": "info", "exit_code": 0, "collection": fields}
