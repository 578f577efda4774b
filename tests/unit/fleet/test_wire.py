from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.fleet import wire

pytest.importorskip("msgpack")

NUMBERS = st.integers(0, 2**53)
TIMES = st.floats(0, 4e9)


@given(st.builds(wire.RequestHeader, NUMBERS, TIMES, NUMBERS))
def test_a_request_header_survives_the_wire(header: wire.RequestHeader) -> None:
    assert wire.unpack_request(wire.pack_request(header)) == header


@given(
    st.builds(
        wire.ReplyHeader, NUMBERS, NUMBERS, st.sampled_from(wire.Outcome), TIMES, TIMES, st.text()
    )
)
def test_a_reply_header_survives_the_wire(header: wire.ReplyHeader) -> None:
    assert wire.unpack_reply(wire.pack_reply(header)) == header


def test_a_beat_survives_the_wire() -> None:
    beat = wire.Beat("shard/3", 2, 4711, "node", "up", 17)
    assert wire.unpack_beat(wire.pack_beat(beat)) == beat


@given(st.binary(max_size=64))
def test_garbage_is_refused_in_one_way(raw: bytes) -> None:
    for unpack in (wire.unpack_request, wire.unpack_reply, wire.unpack_beat):
        with contextlib.suppress(ValueError, TypeError):
            unpack(raw)


def test_keys_of_two_fleets_or_epochs_never_meet() -> None:
    keys = {wire.Keys(f).ask("shard/3", e) for f in ("a", "b") for e in (1, 2)}
    assert len(keys) == 4
    assert wire.Keys("a").beat("shard/3").startswith(wire.Keys("a").beats.removesuffix("**"))
