"""`registry`: checks registry files, and prints their JSON Schema."""

from __future__ import annotations

import json
from typing import Any

from tcia_covid.catalog.registry import check_registry_file, json_schema
from tcia_covid.cli.console import Console
from tcia_covid.core.errors import EXIT_OK, EXIT_REQUEST, RequestError, UsageError
from tcia_covid.core.units import count


def command(console: Console, *, action: str, files: tuple[str, ...], **_: Any) -> int:
    """Check registry files, or print their schema."""
    if action == "schema":
        if files:
            raise UsageError("'registry schema' takes no FILE", hint="'registry check' takes files")
        schema = json_schema()
        console.document(schema)
        console.result(json.dumps(schema, indent=2))
        return EXIT_OK
    if not files:
        raise UsageError("no FILE to check", hint="name the registry files")
    return check(console, files)


def check(console: Console, files: tuple[str, ...]) -> int:
    """Show every error of the files; give the exit code."""
    errors = {file: check_registry_file(file) for file in files}
    total = sum(map(len, errors.values()))
    code = EXIT_REQUEST if total else EXIT_OK
    console.answer(
        code,
        files=[
            {
                "path": file,
                "errors": [{"message": error.message, "hint": error.hint} for error in problems],
            }
            for file, problems in errors.items()
        ],
    )
    for file, problems in errors.items():
        console.prose("\n".join(map(_line, problems)) or f"{file} has no errors")
    if total:
        console.error(f"{count(total, 'error')} in the registry files", "each is listed above")
    return code


def _line(error: RequestError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
