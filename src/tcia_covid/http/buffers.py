"""Memory for what is received, used again and again: to map it anew takes longer than to fill it.

glibc maps blocks of 128 KiB and more anew each time, until a larger one was freed. So one is, for
the sake of the pieces that bodies are given in.
"""

from __future__ import annotations

_SIZE = 512 * 1024
"""Bytes; as many may have come while those before them were inflated, hashed and written."""
_LARGEST = 1024 * 1024
_spare: list[bytearray] = []


def take() -> bytearray:
    """A buffer that nobody else uses."""
    try:
        return _spare.pop()
    except IndexError:
        return bytearray(_SIZE)


def give_back(buffer: bytearray) -> None:
    """Let others use a buffer; the caller does not touch it any more."""
    _spare.append(buffer)


bytearray(_LARGEST)  # freed at once
