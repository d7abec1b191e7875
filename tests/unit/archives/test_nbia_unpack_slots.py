"""Unpack slots: a few threads work, any number reads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tcia_covid.archives.nbia.zip_download import UnpackSlots
from tests.waiting import LONG, wait_for


def in_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_no_more_work_at_once_than_there_are_slots() -> None:
    slots, may_end = UnpackSlots(2), threading.Event()
    working: list[int] = []

    def work(number: int) -> None:
        with slots.around(lambda size: b"") as read:
            read(1)
            working.append(number)
            may_end.wait(LONG)

    threads = [in_thread(lambda number=number: work(number)) for number in range(5)]
    wait_for(lambda: len(working) == 2)
    threads[0].join(0.1)
    assert len(working) == 2
    may_end.set()
    for thread in threads:
        thread.join(LONG)
    assert sorted(working) == [0, 1, 2, 3, 4]


def test_any_number_reads_at_once() -> None:
    slots, together = UnpackSlots(1), threading.Barrier(4)
    received: list[bytes] = []

    def together_with_others(size: int) -> bytes:
        together.wait(LONG)
        return bytes(size)

    def work() -> None:
        with slots.around(together_with_others) as read:
            received.append(read(1))

    threads = [in_thread(work) for _ in range(4)]
    for thread in threads:
        thread.join(LONG)
    assert received == [b"\0"] * 4


def test_a_slot_is_free_again_after_an_error() -> None:
    slots = UnpackSlots(1)

    def failing(size: int) -> bytes:
        raise OSError(size)

    for _ in range(3):
        with pytest.raises(OSError, match="7"), slots.around(failing) as read:
            read(7)
    with slots.around(lambda size: b"x" * size) as read:
        assert read(2) == b"xx"
    assert slots.free.qsize() == 1
