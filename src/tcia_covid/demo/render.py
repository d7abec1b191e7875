"""Rows as bytes: JSON as Jettison prints it, CSV as NBIA's own formatter does."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tcia_covid.demo.exchange import TEXT, Reply
from tcia_covid.demo.rows import Row, Value

JSON = "application/json"
CSV = "text/csv"
FAILED = "Server was not able to process your request\n"
ATTACHMENT = {"Content-Disposition": 'attachment; filename="SeriesMetaData.csv"'}


def failure(message: str = "null") -> Reply:
    """NBIA's answer to any exception that nobody caught."""
    return Reply((FAILED + message).encode(), 500, TEXT)


def refusal(message: str) -> Reply:
    """A 400 with a sentence, which NBIA labels JSON although it is plain text."""
    return Reply(message.encode(), 400, JSON)


def rows_reply(rows: Sequence[Row], wanted: str | None) -> Reply:
    """A list in the format of the call: JSON or CSV; no rows give 200 and no body at all."""
    if not rows:
        return Reply()
    kind = (wanted or "JSON").upper()
    if kind == "JSON":
        return Reply(json_list([json_object(row) for row in rows]), content_type=JSON)
    if kind in ("CSV", "CSVQUOTED", "CSV-DOWNLOAD"):
        return _csv_reply(rows, kind)
    return failure()


def json_list(objects: Sequence[bytes]) -> bytes:
    """The JSON array of `objects`."""
    return b"[" + b",".join(objects) + b"]"


def json_object(row: Row) -> bytes:
    """One row as Jettison prints it: no nulls, slashes escaped, whole decimals as integers."""
    shown = {column: _number(value) for column, value in row.items() if value is not None}
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    return text.replace("/", "\\/").encode()


def json_reply(value: object) -> Reply:
    """A document as Jackson prints it: nulls are kept, slashes are not escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Reply(text.encode(), content_type=JSON)


def _csv_reply(rows: Sequence[Row], kind: str) -> Reply:
    columns = list(rows[0])
    single = len(columns) == 1
    lines = [_plain_line(row) if single else _quoted_line(list(row.values())) for row in rows]
    header = columns[0] if single else _quoted_line(list(columns))
    body = "".join(f"{line}\n" for line in (header, *lines)).encode()
    if kind != "CSV-DOWNLOAD":
        return Reply(body, content_type=CSV)
    return Reply(body, 200, "application/force-download" if single else CSV, dict(ATTACHMENT))


def _plain_line(row: Row) -> str:
    return _cell(next(iter(row.values())))


def _quoted_line(values: Sequence[Value]) -> str:
    # A null in the first column leaves the opening quote out, as the server does.
    cells = [_cell(value).replace('"', '""') for value in values]
    opening = "" if values[0] is None else '"'
    return opening + '","'.join(cells) + '"'


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _number(value: Value) -> Value:
    return int(value) if isinstance(value, float) and value.is_integer() else value
