from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.fleet import Fault, FaultKind

SECONDS = st.floats(min_value=0.001, max_value=1e4, allow_nan=False)
MEMBERS = st.from_regex(r"[a-z]{1,8}/[a-z0-9]{1,4}", fullmatch=True)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    kind = draw(st.sampled_from(FaultKind))
    when = draw(
        st.one_of(
            st.builds(lambda s: {"at_s": s}, SECONDS),
            st.builds(lambda n: {"step": n}, st.integers(0, 10**6)),
            st.builds(lambda p: {"phase": p}, st.sampled_from(["warming", "up"])),
        )
    )
    lasts_s = draw(st.none() | SECONDS) if kind is not FaultKind.KILL else None
    delay_s = draw(SECONDS) if kind is FaultKind.SLOW else None
    return Fault(kind=kind, member=draw(MEMBERS), delay_s=delay_s, lasts_s=lasts_s, **when)


@given(faults())
def test_a_fault_is_read_as_it_is_written(fault: Fault) -> None:
    assert Fault.parse(str(fault)) == fault


@pytest.mark.parametrize(
    "text",
    [
        "kill:shard/3@2s",
        "stop:shard/1@2s+3s",
        "slow:shard/2=50ms@1s",
        "stop:trainer/1@step=40",
        "kill:shard/0@warming",
        "slow:shard/2=50ms@step=5+1.5s",
    ],
)
def test_the_text_of_the_design_is_kept(text: str) -> None:
    assert str(Fault.parse(text)) == text


def test_what_is_read() -> None:
    fault = Fault.parse("stop:shard/1@2s+3s")
    assert (fault.kind, fault.member, fault.at_s, fault.lasts_s) == ("stop", "shard/1", 2.0, 3.0)
    assert Fault.parse("slow:shard/2=50ms@1s").delay_s == 0.05


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kill",
        "kill:shard/3",
        "melt:shard/3@2s",
        "kill:shard/3@",
        "kill:shard/3@soon",
        "kill:shard/3@2 furlongs",
        "kill:shard/3@-2s",
        "kill:shard/3@step=x",
        "kill:shard/3@2s+1s",
        "kill:shard/3=5ms@2s",
        "slow:shard/3@2s",
        "slow:shard/3=0ms@2s",
        "stop:shard/3@2s+0s",
        "kill:shard/3@1e999s",
    ],
)
def test_bad_text_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Fault.parse(text)
    assert caught.value.hint


@given(st.text(max_size=40))
def test_no_text_does_worse_than_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        Fault.parse(text)
