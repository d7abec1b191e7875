"""The files that stand beside a collection's images: metadata, hashes, licence, citation."""

from tcia_covid.report.write import REPORT_FILES, reports_are_stale, write_reports

__all__ = ["REPORT_FILES", "reports_are_stale", "write_reports"]
