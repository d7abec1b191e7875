"""The files that stand beside a collection's images: metadata, hashes, licence, citation."""

from tcia_covid.report.manifest import MANIFEST
from tcia_covid.report.write import (
    REPORT_FILES,
    let_reports_be_stale,
    manifest_was_changed,
    reports_are_stale,
    write_reports,
)

__all__ = [
    "MANIFEST",
    "REPORT_FILES",
    "let_reports_be_stale",
    "manifest_was_changed",
    "reports_are_stale",
    "write_reports",
]
