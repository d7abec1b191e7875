"""When another run, whose lock held nothing, took what this one works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tcia_covid.errors import TakenOverError
from tcia_covid.store.disk import is_missing


@contextmanager
def as_takeover(uid: str) -> Iterator[None]:
    """Say of a file or folder of series `uid` that is gone who took it: a run without a lock.

    Raises:
        TakenOverError: for a `FileNotFoundError`.
    """
    try:
        yield
    except FileNotFoundError as error:
        if not is_missing(error):
            raise
        raise TakenOverError(uid) from error
