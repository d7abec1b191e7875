"""What fetching supporting files came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from tcia_covid.errors import EXIT_ARCHIVE, EXIT_DESTINATION, EXIT_OK, EXIT_PARTIAL
from tcia_covid.model import Failure
from tcia_covid.selection.sizes import format_size
from tcia_covid.summary import Summary, SupportingFile, SupportingFiles
from tcia_covid.supporting.receipts import FileCheck, FileReceipt


@dataclass(slots=True)
class SupportingResult:
    """The supporting files of one collection."""

    collection: str
    fetched: list[FileReceipt] = field(default_factory=list)
    there: list[FileReceipt] = field(default_factory=list)
    """Were there, as their receipts say."""
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    moved_aside: list[str] = field(default_factory=list)
    """Files that were in the way and are not this program's, and where each was moved to."""

    @property
    def told(self) -> str:
        """What came of it, for people."""
        files = [*self.fetched, *self.there]
        if not files and not self.failures:
            told = "no supporting files are known; an entry of a registry file can name some"
            return f"{self.collection}: {told}"
        size = format_size(sum(one.size for one in files))
        unchecked = sum(one.check is FileCheck.NONE for one in files)
        nothing = f", {unchecked} with no size or hash on record" if unchecked else ""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        noun = "supporting file" if len(files) == 1 else "supporting files"
        counted = f"{len(files)} {noun} ({size}{nothing}), {len(self.fetched)} fetched"
        return f"{self.collection}: {counted}{failed}"

    def add_to(self, summary: Summary) -> None:
        """Tell it in the summary of a run, and in its exit code."""
        summary.failures += self.failures
        summary.notices += [self.told, *self.notices, *self.moved_aside]
        files = tuple(
            SupportingFile(
                one.file, one.title, one.kind, one.size, one.sha256, one.check.value, fetched
            )
            for receipts, fetched in ((self.fetched, True), (self.there, False))
            for one in receipts
        )
        failed = len(self.failures)
        summary.supporting.append(SupportingFiles(self.collection, files, failed, self.told))
        if self.failures and summary.exit_code == EXIT_OK:
            reached = summary.complete or self.fetched or self.there
            reasons = {one.reason for one in self.failures}
            summary.exit_code = EXIT_DESTINATION if reasons == {"held"} else EXIT_PARTIAL
            if reasons == {"archive"} and not reached:
                summary.exit_code = EXIT_ARCHIVE
