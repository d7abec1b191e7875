"""Series as the lines of manifests, without line ends."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Iterator

from tcia_covid.core.csv_rows import safe_row
from tcia_covid.core.models import SERIES_NAMES, Series

SERVER = "https://nbia.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet"
"""The server in the first line of TCIA's manifests."""


def tcia_lines(series: Iterable[Series], *, basket: str | None = None) -> Iterator[str]:
    """A manifest for the Data Retrievers of NBIA and TCIA.

    Args:
        series: in this order.
        basket: the databasketId; by default made from the time, as TCIA does.
    """
    yield f"downloadServerUrl={SERVER}"
    yield "includeAnnotation=true"
    yield "noOfrRetry=4"  # spelled so by every reader and writer of the format
    yield f"databasketId={basket or f'manifest-{time.time_ns() // 1_000_000}.tcia'}"
    yield "manifestVersion=3.0"
    yield "ListOfSeriesToDownload="
    yield from uid_lines(series)


def uid_lines(series: Iterable[Series]) -> Iterator[str]:
    """One SeriesInstanceUID per line."""
    return (item.uid for item in series)


def s5cmd_lines(series: Iterable[Series]) -> Iterator[str]:
    """`cp` commands, as IDC's portal writes them; omits series that are not in IDC.

    `s5cmd --no-sign-request run FILE` downloads them.
    """
    yield "# s5cmd --no-sign-request --endpoint-url https://s3.amazonaws.com run FILE"
    yield from (f"cp {address}* ." for address in address_lines(series))


def address_lines(series: Iterable[Series]) -> Iterator[str]:
    """The address of the folder of each series; omits series that are not in IDC."""
    return filter(None, map(idc_address, series))


def idc_address(series: Series) -> str:
    """The `s3://` address of the folder of a series in IDC; empty if it is not there."""
    in_idc = series.bucket and series.crdc_uuid
    return f"s3://{series.bucket}/{series.crdc_uuid}/" if in_idc else ""


def csv_lines(
    series: Iterable[Series], *, delimiter: str = ",", keep_formulas: bool = False
) -> Iterator[str]:
    """One row per series; TCIA's Data Retriever reads it, too."""
    line = csv.writer(_Line(), delimiter=delimiter, lineterminator="").writerow
    yield line(SERIES_NAMES.values())
    for item in series:
        yield line(safe_row(item.to_dict().values(), keep_formulas=keep_formulas))


class _Line:
    """A file that gives back what is written; `writerow` returns that."""

    def write(self, text: str) -> str:
        return text
