"""Values as the JSON documents that the command line promises; keys are added, never renamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tcia_covid.core.errors import NotDicomError, TciaCovidError

if TYPE_CHECKING:
    from tcia_covid.catalog.collections import Collection, Registry
    from tcia_covid.core.summary import Comparison, Summary, SupportingFiles
    from tcia_covid.operations.plan import Amount, GroupPlan, Plan
    from tcia_covid.selection.resolve import Selection

Document = dict[str, Any]


def error_document(command: str, error: TciaCovidError) -> Document:
    """What a command that ended with an error answers."""
    return {
        "command": command or None,
        "exit_code": error.exit_code,
        "error": error_object(error),
    }


def error_object(error: TciaCovidError) -> Document:
    """An error's type, sentence and hint."""
    told: Document = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, NotDicomError):
        told["commands"] = list(error.commands)
    return told


def summary_document(summary: Summary) -> Document:
    """What a download did."""
    document: Document = {
        "command": "download",
        "targets": summary.targets,
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
        "supporting": [_supporting(one) for one in summary.supporting],
        "failures": [one.to_dict() for one in summary.failures],
        "catalog_differences": [_comparison(one) for one in summary.catalog_differences],
        "outdated_reports": summary.outdated_reports,
        "notices": summary.notices,
    }
    if summary.error is not None:
        document["error"] = error_object(summary.error)
    return document


def _supporting(found: SupportingFiles) -> Document:
    files = [asdict(one) for one in found.files]
    for one in files:
        one["bytes"] = one.pop("size")
    fetched = sum(one.fetched for one in found.files)
    return {
        "collection": found.collection,
        "fetched": fetched,
        "already_complete": len(files) - fetched,
        "failed": found.failed,
        "files": files,
    }


def plan_document(plan: Plan, command: str = "plan") -> Document:
    """What a download would do."""
    return {
        "command": command,
        "dry_run": True,
        "targets": list(plan.targets),
        "output": plan.output,
        "exit_code": plan.exit_code,
        "collections": [_group(one) for one in plan.groups],
        **_amounts(plan.selected, plan.complete, plan.partial, plan.to_fetch),
        "disk": {"free": plan.free, "needed": plan.needed, "enough": plan.fits},
        "time": {"seconds": plan.seconds, "rate": plan.rate, "assumed": plan.rate_is_assumed},
        "failures": [one.to_dict() for one in plan.failures],
        "notices": plan.notices,
    }


def _group(group: GroupPlan) -> Document:
    return {
        "collection": group.name,
        "patients": group.patients,
        "studies": group.studies,
        **_amounts(group.selected, group.complete, group.partial, group.to_fetch),
        "modalities": {
            name: {"series": one.series, "images": one.images, "bytes": one.size}
            for name, one in group.modalities.items()
        },
    }


def _amounts(selected: Amount, complete: Amount, partial: Amount, to_fetch: Amount) -> Document:
    return {
        key: {
            "selected": getattr(selected, name),
            "already_complete": getattr(complete, name),
            "partial": getattr(partial, name),
            "to_fetch": getattr(to_fetch, name),
        }
        for key, name in (("series", "series"), ("images", "images"), ("bytes", "size"))
    }


def comparison_document(targets: Sequence[str], comparisons: Sequence[Comparison]) -> Document:
    """How an archive's lists differ from the catalog."""
    return {
        "command": "plan",
        "targets": list(targets),
        "exit_code": int(any(one.differs for one in comparisons)),
        "collections": [_comparison(one) for one in comparisons],
    }


def _comparison(one: Comparison) -> Document:
    return {
        "collection": one.collection,
        "series": {"nbia": one.listed, "catalog": one.known, "same": one.same},
        "only_nbia": one.only_nbia,
        "only_catalog": one.only_catalog,
        "different": [
            {
                "SeriesInstanceUID": two.series,
                "ImageCount": {"nbia": two.images[0], "catalog": two.images[1]},
                "FileSize": {"nbia": two.sizes[0], "catalog": two.sizes[1]},
            }
            for two in one.different
        ],
    }


def series_document(targets: Sequence[str], selected: Selection, exit_code: int) -> Document:
    """The series that a selection names."""
    return {
        "command": "series",
        "targets": list(targets),
        "exit_code": exit_code,
        "series": [one.to_dict() for one in selected.series],
        "failures": [one.to_dict() for one in selected.failures],
        "notices": selected.notices,
    }


def list_document(registry: Registry) -> Document:
    """The registry, in short."""
    return {
        "command": "list",
        "exit_code": 0,
        "collections": [_short(one) for one in registry],
    }


def _short(collection: Collection) -> Document:
    return {
        "name": collection.name,
        "title": collection.title,
        "format": collection.format,
        "doi": collection.doi,
        "license": collection.license and collection.license.name,
        "commercial_use": collection.license and collection.license.commercial_use,
        "modalities": list(collection.modalities),
        "patients": collection.patients,
        "studies": collection.studies,
        "series": collection.series,
        "images": collection.images,
        "volumes": collection.volumes,
        "bytes": collection.size,
        "sources": list(sources(collection)),
    }


def sources(collection: Collection) -> tuple[str, ...]:
    """Where a collection can be had."""
    places = {"idc": collection.idc, "nbia": collection.nbia, "aspera": collection.aspera}
    return tuple(name for name, place in places.items() if place)


def info_document(collection: Collection) -> Document:
    """All that the registry says of one collection."""
    facts = _plain(asdict(collection))
    facts["bytes"] = facts.pop("size")
    for file in facts["supporting"]:
        file["bytes"] = file.pop("size")
    return {
        "command": "info",
        "exit_code": 0,
        "collection": {**facts, "sources": list(sources(collection))},
    }


def _plain(value: Any) -> Any:
    """The value with tuples as lists: what reading the JSON again gives."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value
