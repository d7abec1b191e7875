"""What `tcia_covid.download` is."""

from __future__ import annotations

from pathlib import Path

from tcia_covid.defaults import DEFAULT_OUTPUT
from tcia_covid.download import download as carry_out
from tcia_covid.events import Emit, discard
from tcia_covid.library.asking import request_of
from tcia_covid.library.choices import Choices, Unpack
from tcia_covid.library.interrupting import interruptible
from tcia_covid.library.plain import Paths
from tcia_covid.stop import Stop
from tcia_covid.summary import Summary


def download(
    targets: Paths,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    emit: Emit = discard,
    stop: Stop | None = None,
    **choices: Unpack[Choices],
) -> Summary:
    """Download what `targets` name into the folder `output`; running it again resumes and mends.

    Series that could not be completed are in the summary's `failures`; they raise nothing.

    Args:
        targets: a collection, manifest or SeriesInstanceUID, or several.
        output: the folder that holds the collections' folders.
        emit: hears of progress, from any thread.
        stop: set it from another thread to end the run early.
        choices: filters and options by keyword: the keys of `tcia_covid.Choices`.

    Raises:
        RequestError: it cannot be carried out as asked.
        ArchiveError: no archive could be reached.
        DestinationError: the folder cannot be used.
        InterruptedRunError: `stop` was set; what is complete is kept.
    """
    stop = stop or Stop()
    with interruptible(stop):
        summary = carry_out(request_of(targets, output, **choices), emit=emit, stop=stop)
    if summary.error is not None:
        raise summary.error
    return summary
