from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.fleet import Fault, FaultKind

SECONDS = st.floats(min_value=0.001, max_value=1e4, allow_nan=False)
MEMBERS = st.from_regex(r"[a-z]{1,8}/[a-z0-9]{1,4}(\.[0-9])?", fullmatch=True)


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
    lasts = {FaultKind.KILL: st.none(), FaultKind.CUT: SECONDS}.get(kind, st.none() | SECONDS)
    lasts_s = draw(lasts)
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
        "cut:shard/1.0@2s+3s",
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
        "cut:shard/3@2s",
    ],
)
def test_bad_text_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Fault.parse(text)
    assert caught.value.hint


NEAR = st.from_regex(
    r"(kill|stop|cut|slow|melt):[a-z/0-9.]{0,6}(=[0-9a-z]{0,4})?@[a-z0-9=.]{0,7}(\+[0-9a-z]{0,4})?",
    fullmatch=True,
)


@given(st.text(max_size=40) | NEAR)
def test_any_text_is_a_fault_that_reads_back_or_an_input_error_with_a_hint(text: str) -> None:
    fault: Fault | None = None
    hint: str | None = None
    try:
        fault = Fault.parse(text)
    except InputError as error:
        hint = error.hint
    assert hint or (fault is not None and Fault.parse(str(fault)) == fault)
