"""Small tables in HTML: what notebooks show of results.

The HTML report has templates of its own, and a package that fills them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_MAX_ROWS = 20


def html_table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table, all of whose text is escaped; of many rows only the first ones."""
    every = list(rows)
    shown = [_row("td", row) for row in every[:_MAX_ROWS]]
    if len(every) > _MAX_ROWS:
        more = f"and {len(every) - _MAX_ROWS:,} more"
        shown.append(f'<tr><td colspan="{len(heads)}">{more}</td></tr>')
    head = _row("th", heads) if every else ""
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead>{head}</thead><tbody>{''.join(shown)}</tbody></table>"
    )


def _row(tag: str, cells: Iterable[object]) -> str:
    texts = ("" if cell is None else escape(_text(cell)) for cell in cells)
    return f"<tr>{''.join(f'<{tag}>{text}</{tag}>' for text in texts)}</tr>"


def _text(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)
