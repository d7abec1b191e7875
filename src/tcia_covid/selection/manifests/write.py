"""Writes series as manifests."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable
from typing import TextIO

from tcia_covid.core.csv_rows import safe_row
from tcia_covid.core.models import SERIES_NAMES, Series

SERVER = "https://nbia.cancerimagingarchive.net/nbia-download/servlet/DownloadServlet"
"""The server in the first line of TCIA's manifests."""


def write_tcia(series: Iterable[Series], out: TextIO, *, basket: str | None = None) -> None:
    """Write a manifest for the Data Retrievers of NBIA and TCIA.

    Args:
        series: in this order.
        out: opened with `newline=""`, so that line ends are the same on every system.
        basket: the databasketId; by default made from the time, as TCIA does.
    """
    out.write(
        f"downloadServerUrl={SERVER}\n"
        "includeAnnotation=true\n"
        "noOfrRetry=4\n"  # spelled so by every reader and writer of the format
        f"databasketId={basket or f'manifest-{time.time_ns() // 1_000_000}.tcia'}\n"
        "manifestVersion=3.0\n"
        "ListOfSeriesToDownload=\n"
    )
    write_txt(series, out)


def write_txt(series: Iterable[Series], out: TextIO) -> None:
    """Write one SeriesInstanceUID per line."""
    out.writelines(f"{item.uid}\n" for item in series)


def write_s5cmd(series: Iterable[Series], out: TextIO) -> None:
    """Write `cp` commands, as IDC's portal does; omits series that are not in IDC.

    `s5cmd --no-sign-request run FILE` downloads them.
    """
    out.write("# s5cmd --no-sign-request --endpoint-url https://s3.amazonaws.com run FILE\n")
    out.writelines(f"cp {address}* .\n" for item in series if (address := idc_address(item)))


def write_urls(series: Iterable[Series], out: TextIO) -> None:
    """Write the address of the folder of each series; omits series that are not in IDC."""
    out.writelines(f"{address}\n" for item in series if (address := idc_address(item)))


def idc_address(series: Series) -> str:
    """The `s3://` address of the folder of a series in IDC; empty if it is not there."""
    in_idc = series.bucket and series.crdc_uuid
    return f"s3://{series.bucket}/{series.crdc_uuid}/" if in_idc else ""


def write_csv(
    series: Iterable[Series], out: TextIO, *, delimiter: str = ",", keep_formulas: bool = False
) -> None:
    """Write one row per series; TCIA's Data Retriever reads it, too."""
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(SERIES_NAMES.values())
    for item in series:
        writer.writerow(safe_row(item.to_dict().values(), keep_formulas=keep_formulas))
