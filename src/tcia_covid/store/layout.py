"""The path of a series' folder below its collection's folder."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Series
from tcia_covid.core.safe_names import is_reserved, safe_name

_TAIL = 5
"""Characters of a UID that NBIA's own retriever puts at the end of descriptive names."""


_PLAIN = frozenset(string.ascii_letters + string.digits + "._-")
_MAX_NAME = 150


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder template: fields in braces, folders separated by `/`."""

    template: str

    @classmethod
    def parse(cls, text: str) -> Layout:
        """Make a layout from `uid`, `descriptive` or a template.

        Raises:
            UsageError: an unknown field, or a template with the same folder for several series.
        """
        if text in NAMED:
            return NAMED[text]
        layout = cls(text)
        names = layout._fields()
        unknown = sorted(names - FIELDS.keys())
        if unknown:
            known = ", ".join(sorted(FIELDS))
            raise UsageError(
                f"the layout has an unknown field {{{unknown[0]}}}", hint=f"known fields: {known}"
            )
        first = text.split("/", maxsplit=1)[0]
        if is_reserved(first) or first.startswith("."):
            raise UsageError(
                f"the layout's first folder {first!r} is a reserved name",
                hint="choose another one, such as {patient}",
            )
        if "series" not in names and "series_tail" not in names:
            raise UsageError(
                "the layout gives several series the same folder",
                hint="use {series} or {series_tail} in its last folder",
            )
        return layout

    def folder(self, series: Series) -> PurePosixPath:
        """The folder of `series`, relative to the collection's folder."""
        return self.folders(series)[0]

    def folders(self, series: Series) -> tuple[PurePosixPath, ...]:
        """The folders that `series` may have, by preference.

        The second one, with the SeriesInstanceUID appended, is for a series whose first one is
        another series'. In the last one the UID is appended to the first folder's name: a folder
        above is another series'.
        """
        return _folders(self.template, series)

    def _fields(self) -> set[str]:
        try:
            parsed = list(string.Formatter().parse(self.template))
        except ValueError as error:
            raise UsageError(f"the layout cannot be read: {error}") from error
        if any(conversion or spec for _, _, spec, conversion in parsed):
            raise UsageError("the layout's fields take no format or conversion")
        return {name for _, name, _, _ in parsed if name is not None}


@lru_cache(maxsize=256)  # called five times per series
def _folders(template: str, series: Series) -> tuple[PurePosixPath, ...]:
    fields = {name: value(series) for name, value in FIELDS.items()}
    parts = [part.format_map(fields) for part in template.split("/") if part]
    names = [_component(part) for part in parts]
    first, last = (_component(f"{part[:60]}-{series.uid}") for part in (parts[0], parts[-1]))
    variants = (names, [*names[:-1], last], [first, *names[1:]])
    return tuple(dict.fromkeys(PurePosixPath(*variant) for variant in variants))


def _component(part: str) -> str:
    """Keep a safe name; any other is made safe as a whole."""
    plain = part.strip(" .") or "_"
    safe = all(c in _PLAIN for c in plain) and len(plain) <= _MAX_NAME
    return plain if safe and not is_reserved(plain) else str(safe_name(plain))


FIELDS: Mapping[str, Callable[[Series], str]] = {
    "patient": lambda series: safe_name(series.patient),
    "study": lambda series: series.study,
    "series": lambda series: series.uid,
    "modality": lambda series: _readable(series.modality),
    "number": lambda series: str(series.number) if series.number is not None else "NA",
    "description": lambda series: _readable(series.description),
    "study_date": lambda series: _readable(series.study_date),
    "study_description": lambda series: _readable(series.study_description),
    "study_tail": lambda series: series.study[-_TAIL:].replace(".", "_"),
    "series_tail": lambda series: series.uid[-_TAIL:].replace(".", "_"),
}
"""The fields of templates, and their values."""


def _readable(text: str | None) -> str:
    """Keep letters, digits and hyphens of a description; not unique."""
    words = "".join(c if c in _PLAIN else " " for c in (text or "")).split()
    return "_".join(words)[:53] or "NA"


UID = Layout("{patient}/{study}/{series}")
DESCRIPTIVE = Layout(
    "{patient}/{study_date}-{study_description}-{study_tail}/"
    "{modality}-{number}-{description}-{series_tail}"
)
NAMED = {"uid": UID, "descriptive": DESCRIPTIVE}
"""Layouts that have a name."""
