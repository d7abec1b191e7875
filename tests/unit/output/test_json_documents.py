"""The JSON documents that the command line promises."""

from __future__ import annotations

import json
from typing import Any

from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.console import encoded
from tcia_covid.core.errors import EXIT_SIGINT, InterruptedRunError, UnknownCollectionError
from tcia_covid.core.models import Failure, Totals
from tcia_covid.core.summary import Comparison, Difference, SeriesResult
from tcia_covid.operations.plan import GroupPlan, Plan
from tcia_covid.output import json_documents
from tcia_covid.selection.resolve import CollectionSelection, Selection
from tests.unit.factories import series, summary


def as_read(content: dict[str, Any]) -> dict[str, Any]:
    """What a program that reads the document gets."""
    document: dict[str, Any] = json.loads("".join(encoded(content, ensure_ascii=True)))
    return document


def test_the_document_of_a_download_has_the_documented_keys() -> None:
    failure = Failure(
        "1.3", "incomplete", "series 1.3 has a missing image", ("1.3.1",), "try later"
    )
    results = [SeriesResult("1.3", "failed")]
    document = json_documents.summary_document(
        summary(
            complete=2,
            failed=1,
            failures=[failure],
            exit_code=1,
            already_complete=1,
            results=results,
        )
    )
    assert as_read(document) == {
        "command": "download",
        "targets": ["C"],
        "resolved": [],
        "output": "data",
        "exit_code": 1,
        "seconds": 12.3,
        "series": {
            "selected": 3,
            "complete": 2,
            "already_complete": 1,
            "failed": 1,
            "remaining": 0,
        },
        "images": {"expected": 6, "stored": 6},
        "bytes": {"stored": 3000, "received": 2000},
        "partial": {"series": 0, "bytes": 0},
        "checked": {"md5": 3, "size": 0},
        "sources": {"nbia": 3, "idc": 0},
        "supporting": [],
        "catalog_differences": [],
        "results": [{"SeriesInstanceUID": "1.3", "state": "failed", "path": None}],
        "failures": [
            {
                "SeriesInstanceUID": "1.3",
                "reason": "incomplete",
                "detail": "series 1.3 has a missing image",
                "missing": ["1.3.1"],
                "hint": "try later",
            }
        ],
        "outdated_reports": [],
        "notices": [],
    }


def test_an_interrupted_download_names_the_interruption() -> None:
    kept = {"partial_series": 2, "partial_bytes": 900}
    error = InterruptedRunError()
    document = json_documents.summary_document(summary(error=error, exit_code=EXIT_SIGINT, **kept))
    assert document["partial"] == {"series": 2, "bytes": 900}
    assert document["exit_code"] == EXIT_SIGINT
    assert document["error"]["type"] == "InterruptedRunError"


def test_an_error_is_a_document_of_its_own() -> None:
    error = UnknownCollectionError("no collection is called 'X'", hint="did you mean 'Y'?")
    assert as_read(json_documents.error_document("plan", error)) == {
        "command": "plan",
        "exit_code": 2,
        "error": {
            "type": "UnknownCollectionError",
            "message": "no collection is called 'X'",
            "hint": "did you mean 'Y'?",
        },
    }


def test_an_error_before_any_command_names_none() -> None:
    assert json_documents.error_document("", InterruptedRunError())["command"] is None


def planned() -> Plan:
    group = GroupPlan("C", 2, 2, selected=Totals(3, 6, 3000), complete=Totals(1, 2, 1000))
    group.partial = Totals(1, 1, 400)
    group.modalities = {"CT": Totals(3, 6, 3000)}
    return Plan(("C",), "data", [group], free=10**9, rate=1000, rate_is_assumed=False)


def test_the_document_of_a_plan_has_amounts_disk_and_time() -> None:
    document = as_read(json_documents.plan_document(planned()))
    assert document["command"] == "plan"
    assert document["series"] == {"selected": 3, "already_complete": 1, "partial": 1, "to_fetch": 2}
    assert document["images"]["to_fetch"] == 3
    assert document["bytes"] == {
        "selected": 3000,
        "already_complete": 1000,
        "partial": 400,
        "to_fetch": 1600,
    }
    assert document["disk"] == {"free": 10**9, "needed": 1600, "enough": True}
    assert document["time"] == {"seconds": 2, "rate": 1000, "assumed": False}
    (collection,) = document["collections"]
    assert collection["collection"] == "C"
    assert collection["patients"] == 2
    assert collection["modalities"] == {"CT": {"series": 3, "images": 6, "bytes": 3000}}


def test_a_comparison_lists_the_differences() -> None:
    comparison = Comparison("C", 3, 3, ["1.1"], ["1.2"], [Difference("1.3", (2, 1), (9, 8))])
    document = as_read(json_documents.comparison_document(["C"], [comparison]))
    assert document["exit_code"] == 1
    assert document["collections"] == [
        {
            "collection": "C",
            "series": {"nbia": 3, "catalog": 3, "same": 1},
            "only_nbia": ["1.1"],
            "only_catalog": ["1.2"],
            "different": [
                {
                    "SeriesInstanceUID": "1.3",
                    "ImageCount": {"nbia": 2, "catalog": 1},
                    "FileSize": {"nbia": 9, "catalog": 8},
                }
            ],
        }
    ]


def test_series_are_listed_with_all_that_is_known() -> None:
    selected = Selection(
        [CollectionSelection("C", None, [series("1.1", modality="CT")])], notices=["a note"]
    )
    document = as_read(json_documents.series_document(["C"], selected, 0))
    assert document["series"] == [series("1.1", modality="CT").to_dict()]
    assert document["notices"] == ["a note"]


def test_the_document_of_list_names_the_sources_of_collections() -> None:
    document = as_read(json_documents.list_document(load_registry()))
    named = {entry["name"]: entry for entry in document["collections"]}
    assert named["COVID-19-AR"]["series"] == 461
    assert named["COVID-19-AR"]["sources"] == ["idc", "nbia"]
    assert named["CT Images in COVID-19"]["sources"] == ["aspera"]
    assert named["CT Images in COVID-19"]["volumes"] == 771
    assert named["CT Images in COVID-19"]["series"] is None
    assert named["MIDRC-RICORD-1A"]["commercial_use"] is False


def test_the_document_of_info_has_every_field() -> None:
    for collection in load_registry():
        document = as_read(json_documents.info_document(collection, ["a warning"]))["collection"]
        assert document["name"] == collection.name
        assert document["bytes"] == collection.size
        assert len(document["supporting"]) == len(collection.supporting)
        assert all("size" not in file for file in document["supporting"])
        assert document["pitfalls"] == list(collection.pitfalls)
        assert document["warnings"] == ["a warning"]
