"""Tables for pandas: series with their paths, clinical tables, labels; needs the extra `pandas`."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcia_covid.api.functions import iter_series
from tcia_covid.api.local import local_series
from tcia_covid.api.options import check_value, folder_from
from tcia_covid.catalog.collections import Collection
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import RequestError, UsageError
from tcia_covid.core.models import SERIES_NAMES, Series
from tcia_covid.core.safe_names import DEFAULT_OUTPUT
from tcia_covid.operations.files import LocalSeries
from tcia_covid.selection.targets import unknown_collection
from tcia_covid.store.discovery import find_trees
from tcia_covid.store.layout import collection_folder
from tcia_covid.store.report_files import join_columns, join_keys
from tcia_covid.supporting.receipts import FileReceipts

if TYPE_CHECKING:
    import pandas as pd

_WHOLE_NUMBERS = ("SeriesNumber", "ImageCount", "FileSize")
_HEADER_ROWS = 10
"""Rows of a sheet among which the column names are: headings may be above them."""
_LEADING_ZERO = re.compile(r"-?0\d")
_LABEL_COLUMNS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "group",
    "label",
    "annotations",
)


def to_dataframe(
    source: str | Path | Series | LocalSeries | Iterable[Series | LocalSeries | Mapping[str, Any]],
) -> pd.DataFrame:
    """Make a table of series: one row each, with the names of `Series.to_dict`.

    `path` is the folder of a series on disk. The last columns are spelled as in the clinical file
    of the collection, with the values to join on (docs/clinical-data.md).

    Args:
        source: a folder that `download` filled, or one collection's folder in it: its complete
            series; a collection or other target: its series in the catalog; or series, `to_dict()`
            values, or `LocalSeries`.

    Raises:
        RequestError: pandas is not installed, or the folder is not one of this program's.
        UsageError: the source is none of these.
    """
    pandas = _pandas()
    rows = [_row(item) for item in _items(source)]
    keys = dict.fromkeys(name for row in rows for name in row)
    columns = dict.fromkeys([*SERIES_NAMES.values(), *keys])
    frame = pandas.DataFrame(rows, columns=list(columns))
    for name in _WHOLE_NUMBERS:
        frame[name] = frame[name].astype("Int64")
    return frame


def _items(source: Any) -> Iterable[Any]:
    if isinstance(source, str | Path):
        return local_series(source) if Path(source).is_dir() else iter_series(source)
    if isinstance(source, Series | LocalSeries | Mapping):
        return [source]
    if not isinstance(source, Iterable):
        raise UsageError(f"a table of series cannot be made of {source!r}"[:200])
    return source


def _row(item: Any) -> dict[str, Any]:
    if isinstance(item, LocalSeries):
        return {**item.series.to_dict(), "path": str(item.path), **item.join_keys()}
    if isinstance(item, Series):
        return {**item.to_dict(), **join_keys(item.collection, item)}
    if isinstance(item, Mapping):
        return {name: value for name, value in item.items() if name != "files"}
    raise UsageError(f"a table of series cannot be made of {item!r}"[:200])


def clinical(
    collection: str,
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    file: str | Path | None = None,
) -> pd.DataFrame:
    """Read the clinical table that `download --supporting` stored for a collection.

    Column names are found below headings, and have no spaces around them. Those to join on are
    spelled as in `to_dataframe` and metadata.csv. Identifiers are text. Other columns are numeric
    if all their values are numbers and none has a leading zero. Only empty cells are missing
    values: `None` or `NA` stays text. Dates stay as they are: de-identification shifted them.

    Args:
        collection: any name of it.
        directory: an output folder, or the collection's folder in it.
        file: the table, if it was downloaded in another way (CSV or xlsx).

    Raises:
        RequestError: pandas is not installed, there is no such table, or it cannot be read.
    """
    pandas = _pandas()
    known = _collection(collection)
    path = (
        Path(file) if file is not None else _stored(known, directory, "clinical", (".xlsx", ".csv"))
    )
    join = join_columns(known.name)
    wanted = [_fold(name) for name in join]
    cells, sheet = _cells(pandas, path, wanted)
    header = _header_row(cells, wanted)
    if header is None:
        columns = " or ".join(join) or "column names"
        raise RequestError(
            f"{path} has no {columns} in its first {_HEADER_ROWS} rows{sheet}",
            hint="is it the clinical table of this collection? docs/clinical-data.md describes it",
        )
    frame = cells.iloc[header + 1 :].reset_index(drop=True)
    frame.columns = _names(cells.iloc[header], join)
    frame = frame.loc[:, [name != "" for name in frame.columns]].dropna(how="all")
    frame = frame.reset_index(drop=True)
    for name in frame.columns:
        frame[name] = _typed(pandas, frame[name], is_identifier=name in join)
    return frame


def labels(
    collection: str,
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    file: str | Path | None = None,
) -> pd.DataFrame:
    """Read the annotations of RICORD (a JSON export of MD.ai) as labels per study.

    One row for each study, image, group of labels and label: `StudyInstanceUID`,
    `SeriesInstanceUID` and `SOPInstanceUID` (missing where a label is for the whole study), `group`
    (in RICORD, readers), `label`, and `annotations`, the number of annotations, such as outlines.

    Args:
        collection: any name of it.
        directory: an output folder, or the collection's folder in it.
        file: the JSON file, if it was downloaded in another way.

    Raises:
        RequestError: pandas is not installed, there are no annotations, or they cannot be read.
    """
    pandas = _pandas()
    known = _collection(collection)
    path = Path(file) if file is not None else _stored(known, directory, "annotations", (".json",))
    try:
        document = json.loads(path.read_bytes())
        rows = list(_annotated(document))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RequestError(
            f"{path} is not a JSON export of MD.ai ({type(error).__name__}: {error})"[:300],
            hint="download it again with --supporting",
        ) from error
    by = list(_LABEL_COLUMNS[:-1])
    frame = pandas.DataFrame(rows, columns=by, dtype="object")
    return frame.groupby(by, dropna=False, sort=True).size().rename("annotations").reset_index()


def _annotated(document: Mapping[str, Any]) -> Iterator[tuple[str | None, ...]]:
    """The study, series, image, group and name of each annotation's label."""
    names = {
        label["id"]: (group.get("name"), label["name"])
        for group in document["labelGroups"]
        for label in group["labels"]
    }
    for dataset in document["datasets"]:
        for annotation in dataset["annotations"]:
            group, label = names[annotation["labelId"]]
            study, series = annotation["StudyInstanceUID"], annotation.get("SeriesInstanceUID")
            yield study, series or None, annotation.get("SOPInstanceUID") or None, group, label


def _pandas() -> Any:
    """Import pandas.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - an extra, and 0.5 s
    except ImportError as error:
        raise RequestError(
            f"tables need the package pandas, which is not installed ({error})",
            hint="install it: pip install 'tcia-covid[pandas]'",
        ) from error
    return pd


def _collection(name: str) -> Collection:
    registry = load_registry()
    known = registry.find(check_value("collection", name, str | Path))
    if known is None:
        raise unknown_collection(str(name), registry)
    return known


def _stored(
    collection: Collection, directory: str | Path, kind: str, suffixes: tuple[str, ...]
) -> Path:
    """The first supporting file of a kind, with one of the suffixes, in a collection's folder.

    Raises:
        RequestError: there is none.
    """
    folder = folder_from(directory)
    name = collection_folder(collection.name)
    for tree in [tree for tree in find_trees(folder) if tree.root.resolve().name == name]:
        receipts = FileReceipts(tree)
        files = [
            receipts.files / member.file
            for receipt in receipts.all()
            if receipt.kind == kind
            for member in receipt.all_files
            if member.file.lower().endswith(suffixes)
        ]
        if existing := [file for file in files if file.is_file()]:
            return existing[0]
    raise RequestError(
        f"{folder} has no {kind} file of {collection.name}",
        hint=f"download it: tcia-covid download '{collection.name}' --supporting-only; or give its "
        "path as file=",
    )


def _cells(pandas: Any, path: Path, wanted: Sequence[str]) -> tuple[Any, str]:
    """All cells as text, of the first sheet that has the wanted columns; what was looked at."""
    options = {"header": None, "dtype": str, "keep_default_na": False, "na_values": [""]}
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                return pandas.DataFrame(list(csv.reader(file)), dtype=object), ""
        sheets = pandas.read_excel(path, sheet_name=None, **options)
    except ImportError as error:
        raise RequestError(
            f"reading {path} needs a package that is not installed ({error})",
            hint="install it: pip install 'tcia-covid[pandas]'",
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # a damaged workbook may raise anything there
        raise RequestError(
            f"{path} cannot be read as a table ({type(error).__name__}: {error})"[:300],
            hint="is it the file that TCIA offers? download it again with --supporting",
        ) from error
    fitting = (cells for cells in sheets.values() if _header_row(cells, wanted) is not None)
    first = next(iter(sheets.values()))
    return next(fitting, first), f" of any of its sheets ({', '.join(map(str, sheets))})"


def _unreadable(path: Path, error: OSError) -> RequestError:
    return RequestError(
        f"{path} cannot be read: {error.strerror or error}", hint="check its name and permissions"
    )


def _header_row(cells: Any, wanted: Sequence[str]) -> int | None:
    """The row that has the names of the columns to join on; the first one if none are known."""
    for number in range(min(_HEADER_ROWS, len(cells))):
        names = {_fold(str(value)) for value in cells.iloc[number]}
        if set(wanted) <= names:
            return number
    return None


def _names(header: Iterable[Any], join: Sequence[str]) -> list[str]:
    """Column names without spaces around them; a repeated one gets a number."""
    ours = {_fold(name): name for name in join}
    names: list[str] = []
    for value in header:
        text = " ".join(value.split()) if isinstance(value, str) else ""
        name = ours.pop(_fold(text), text) if text else ""
        repeated = sum(other == name or other.startswith(f"{name}.") for other in names)
        names.append(f"{name}.{repeated}" if name and name in names else name)
    return names


def _fold(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _typed(pandas: Any, column: Any, *, is_identifier: bool) -> Any:
    """Strip the text of a column, and make numbers of it if all of its values are numbers."""
    column = column.str.strip().replace("", None)
    values = column.dropna()
    if is_identifier or values.empty or values.str.match(_LEADING_ZERO.pattern).any():
        return column
    numbers = pandas.to_numeric(values, errors="coerce")
    return column if numbers.isna().any() else pandas.to_numeric(column)
