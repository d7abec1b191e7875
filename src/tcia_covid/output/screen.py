"""A few lines at the bottom of a terminal that are drawn again and again, and text above them."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TextIO

from tcia_covid.core.units import cut, wrap

_ERASE_BELOW = "\x1b[J"
_ERASE_RIGHT = "\x1b[K"
_ERASE = f"\r {_ERASE_BELOW}\r{_ERASE_RIGHT}"
"""Erases the cursor's line and those below. Not from the first column: where that is the first one
of the screen, too, tmux moves the screen into its history."""
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"
"""A terminal may have another size than the system says for a moment: lines must not wrap then."""

if sys.platform == "win32":
    import ctypes
    import msvcrt

    _VT_PROCESSING = 4
    """The mode of a Windows console that enables escape sequences."""

    def supports_escapes(stream: TextIO) -> bool:
        """Enable escape sequences; return whether the console supports them."""
        kernel, mode = ctypes.windll.kernel32, ctypes.c_ulong()
        handle = msvcrt.get_osfhandle(stream.fileno())
        return bool(
            kernel.GetConsoleMode(handle, ctypes.byref(mode))
            and kernel.SetConsoleMode(handle, mode.value | _VT_PROCESSING)
        )

    def is_in_foreground(stream: TextIO) -> bool:
        """Whether this process may draw on the console: always."""
        del stream
        return True

else:

    def supports_escapes(stream: TextIO) -> bool:
        """Whether the terminal supports escape sequences: always."""
        del stream
        return True

    def is_in_foreground(stream: TextIO) -> bool:
        """Whether this process may draw on the terminal; not after `bg`."""
        with contextlib.suppress(OSError, ValueError):
            return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
        return True  # a terminal without job control


def terminal_size(stream: TextIO) -> os.terminal_size:
    """Columns and lines of the terminal that a stream writes to; 80 and 24 if it does not say."""
    with contextlib.suppress(OSError, ValueError):
        if (size := os.get_terminal_size(stream.fileno())).columns:
            return size
    return os.terminal_size((80, 24))


class Screen:
    """Draws lines below everything else on a terminal; from any thread.

    Between two drawings the cursor is at the start of the first line drawn. A terminal that wraps
    its lines again after a change of size moves the cursor with its line, so that everything that
    was drawn is still below the cursor, and can be erased.
    """

    def __init__(
        self, stream: TextIO, size: Callable[[TextIO], os.terminal_size] = terminal_size
    ) -> None:
        self._stream = stream
        self._get_size = size
        self._lock = threading.RLock()
        self._lines: list[str] = []
        """On the screen."""
        self._size = size(stream)
        """When the lines were drawn."""
        self._is_suspended = False

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines."""
        return self._get_size(self._stream)

    def show(self, lines: Sequence[str]) -> None:
        """Draw these lines in place of those drawn before; cut where they are too long."""
        with self._lock:
            is_blank = not lines and not self._lines
            if is_blank or self._is_suspended or not is_in_foreground(self._stream):
                return
            size = self.size
            before = _ERASE if size != self._size else ""
            self._size = size
            # A full line would wrap on some terminals.
            self._lines = [
                cut(self._encodable(line), size.columns - 1) for line in lines[: size.lines - 1]
            ]
            self._write(f"\r{before}{self._drawing()}")

    def write_above(self, text: str) -> None:
        """Write text that stays, wrapped between words, and draw the lines again below it."""
        with self._lock:
            erase = _ERASE if self._lines else ""
            size = self.size
            if size != self._size:
                self._lines = []  # may be too long; it is drawn again soon
            lines = wrap(self._encodable(text), size.columns)
            self._write(f"{erase}{lines}\n{self._drawing()}")

    def clear(self) -> None:
        """Erase the lines."""
        with self._lock:
            if self._lines:
                self._lines = []
                self._write(_ERASE)

    def suspend(self) -> None:
        """Erase the lines, and draw none: the process is about to be stopped."""
        with self._lock:
            self.clear()
            self._is_suspended = True

    def resume(self) -> None:
        """Draw again."""
        self._is_suspended = False

    def _drawing(self) -> str:
        if not self._lines:
            return _ERASE
        drawn = "\n".join(f"{line}{_ERASE_RIGHT}" for line in self._lines)
        up = f"\x1b[{len(self._lines) - 1}A" if len(self._lines) > 1 else ""
        return f"{_WRAP_OFF}{drawn}{_ERASE_BELOW}{_WRAP_ON}{up}\r"

    def _encodable(self, text: str) -> str:
        encoding = getattr(self._stream, "encoding", None) or "ascii"
        return text.encode(encoding, "replace").decode(encoding)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
