"""The JSON document of a verb that ended with an error before it had anything to tell."""

from __future__ import annotations

from tcia_covid.cli.console import Console
from tcia_covid.document import Document, error_document, summary_document
from tcia_covid.errors import TciaCovidError


def failed_document(console: Console, error: TciaCovidError) -> Document:
    """The keys that the verb promises, with nothing in them, and the error."""
    return {**_nothing_done(console), **error_document(console.verb, error)}


def _nothing_done(console: Console) -> Document:
    if console.verb == "download":
        from tcia_covid.summary import Summary  # noqa: PLC0415

        return summary_document(Summary(list(console.targets), console.folder))
    if console.verb == "verify":
        from tcia_covid.verify.result import VerifyResult, document  # noqa: PLC0415

        return document(VerifyResult(console.folder))
    if console.verb == "status":
        from tcia_covid.status import StatusResult  # noqa: PLC0415
        from tcia_covid.status import document as standing  # noqa: PLC0415

        return standing(StatusResult(console.folder, []))
    return {}
