"""Both engines behave alike where the ZIP reader relies on them."""

from __future__ import annotations

import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_covid.formats import inflate
from tcia_covid.formats.inflate import ZLIB, Engine, find_isal
from tests.unit.formats.zip_framing import deflate

ENGINES = [engine for engine in (ZLIB, find_isal()) if engine]
with_each_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name.split()[0])


@with_each_engine
@given(data=st.binary(max_size=2000), after=st.binary(max_size=50), size=st.integers(1, 500))
def test_inflates_in_steps_and_returns_what_follows(
    engine: Engine, data: bytes, after: bytes, size: int
):
    stream, out, at = deflate(data * 20) + after, bytearray(), 0
    inflater = engine.new_inflater()
    while not inflater.eof:
        fed = b""
        if inflater.needs_input:
            fed, at = stream[at : at + size], at + size
        piece = inflater.decompress(fed, 700)
        assert len(piece) <= 700
        out += piece

    assert bytes(out) == data * 20
    assert inflater.unused_data + stream[at:] == after


@with_each_engine
def test_damaged_data_raises_the_engines_own_error(engine: Engine):
    with pytest.raises(engine.error):
        engine.new_inflater().decompress(b"\xff" * 100, 100)


@with_each_engine
@given(data=st.binary(max_size=300))
def test_crc32_equals_that_of_zip(engine: Engine, data: bytes):
    assert engine.crc32(data[7:], engine.crc32(data[:7], 0)) == zlib.crc32(data)


def test_zlib_is_used_if_isal_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "isal", None)

    assert find_isal() is None


def test_the_engine_in_use_can_be_named():
    assert inflate.DEFAULT.name.split()[0] in ("zlib", "isal")
    assert inflate.DEFAULT.new_inflater().decompress(deflate(b"data"), 10) == b"data"
