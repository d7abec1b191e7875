"""What `tcia_covid.verify` is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tcia_covid.archives.addresses import check_addresses
from tcia_covid.defaults import DEFAULT_OUTPUT
from tcia_covid.events import Emit, discard
from tcia_covid.library.choices import Choices, Unpack, options_of
from tcia_covid.library.interrupting import interruptible
from tcia_covid.library.plain import path_of
from tcia_covid.options import Options
from tcia_covid.stop import Stop
from tcia_covid.verify import VerifyResult
from tcia_covid.verify import verify as check

if TYPE_CHECKING:
    from tcia_covid.archives.base import Archive


def verify(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    deep: bool = False,
    online: bool = False,
    strict: bool = False,
    emit: Emit = discard,
    stop: Stop | None = None,
    on_progress: Callable[[int, int], None] = lambda size, images: None,
    **choices: Unpack[Choices],
) -> VerifyResult:
    """Re-check every file of a download against its recorded MD5.

    Args:
        directory: an output folder, or one collection's folder in it.
        deep: also read each file as DICOM.
        strict: unexpected files give exit code 1.
        online: compare with NBIA's own hash of each series, too.
        emit: hears of what is worth a line.
        stop: set it from another thread to end the check early.
        on_progress: hears of bytes and images as they are checked.
        choices: options of the connection, for `online`.

    Raises:
        RequestError: the folder is not one of this program's.
        InterruptedRunError: `stop` was set.
    """
    stop = stop or Stop()
    folder = path_of("directory", directory)
    options = options_of(**choices)
    check_addresses(options.nbia_url, options.idc_url)
    with _nbia(options, stop, emit, online=online) as archive, interruptible(stop):
        return check(
            folder,
            deep=deep,
            strict=strict,
            archive=archive,
            jobs=choices.get("jobs"),
            emit=emit,
            stop=stop,
            on_progress=on_progress,
        )


@contextmanager
def _nbia(options: Options, stop: Stop, emit: Emit, *, online: bool) -> Iterator[Archive | None]:
    """Open NBIA, where it is to be asked."""
    if not online:
        yield None
        return
    from tcia_covid.opening import open_for  # noqa: PLC0415 - brings all of HTTP along

    archives = open_for(options, stop, emit)
    try:
        yield archives.nbia
    finally:
        archives.close()
