from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.fleet import messages, wire

pytest.importorskip("msgpack")

NUMBERS = st.integers(0, 2**53)
TIMES = st.floats(0, 4e9)
TEXTS = st.text(st.characters(codec="utf-8"))


@given(st.builds(messages.RequestHeader, NUMBERS, NUMBERS, TIMES))
def test_a_request_header_survives_the_wire(header: messages.RequestHeader) -> None:
    assert messages.unpack_request(messages.pack_request(*header)) == header


@given(
    st.builds(
        messages.ReplyHeader,
        NUMBERS,
        NUMBERS,
        st.sampled_from(messages.Outcome),
        TIMES,
        TIMES,
        TEXTS,
    )
)
def test_a_reply_header_survives_the_wire(header: messages.ReplyHeader) -> None:
    assert messages.unpack_reply(messages.pack_reply(*header)) == header


def test_a_beat_survives_the_wire() -> None:
    beat = messages.Beat("shard/3", 2, 4711, "node", "up", 17)
    assert messages.unpack_beat(messages.pack_beat(beat)) == beat


def test_a_pulse_survives_the_wire() -> None:
    pulse = messages.Pulse("a", "tcp/h:1", 7, 2, True, True, False, 3, ("tcp/h:2", "tcp/h:3"))
    assert messages.unpack_pulse(messages.pack_pulse(pulse)) == pulse


@given(st.binary(max_size=64))
def test_garbage_is_refused_in_one_way(raw: bytes) -> None:
    for unpack in (
        messages.unpack_request,
        messages.unpack_reply,
        messages.unpack_beat,
        messages.unpack_pulse,
    ):
        try:
            read = unpack(raw)
        except (ValueError, TypeError):
            continue
        # What does not raise is a whole header, not a part of one.
        assert type(read) in (
            messages.RequestHeader,
            messages.ReplyHeader,
            messages.Beat,
            messages.Pulse,
        )


def test_keys_of_two_fleets_or_epochs_never_meet() -> None:
    keys = {wire.Keys(f).ask("shard/3", e) for f in ("a", "b") for e in (1, 2)}
    assert len(keys) == 4
    assert wire.Keys("a").beat("shard/3").startswith(wire.Keys("a").beats.removesuffix("**"))
