"""Waiting in tests: until a condition is true, and how long "at once" may take on a busy machine.

No test measures speed. What is cut short would otherwise last `LONG`; that it ends `SOON` leaves
a machine with far too much to do enough time.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SOON = 20.0
"""Seconds in which anything that ends at once has ended."""
LONG = 60.0
"""Seconds of a wait that is to be cut short."""


def wait_for(condition: Callable[[], object], process: subprocess.Popen[Any] | None = None) -> None:
    """Wait until a condition is true; `process`, which is to cause it, must not end before."""
    end = time.monotonic() + LONG
    while not condition():
        assert process is None or process.poll() is None, f"ended: {process.communicate()}"
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


@contextmanager
def soon(*, at_least: float = 0.0) -> Iterator[None]:
    """What is done inside ends soon, and not before `at_least` seconds."""
    began = time.monotonic()
    yield
    assert at_least <= time.monotonic() - began < SOON
