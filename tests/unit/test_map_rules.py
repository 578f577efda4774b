"""What holds of the map for any workload: ratios grow with their facts, and axes go together."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.axes import AXES, Axis
from sextant.facts import Facts, load_facts
from sextant.plan.ceilings import find_ceilings
from sextant.plan.position import locate
from sextant.workload import parse_workload

DATA, TRAINING, MODEL = Axis.DATA, Axis.TRAINING, Axis.MODEL
INFERENCE, COORDINATION, INTELLIGENCE = Axis.INFERENCE, Axis.COORDINATION, Axis.INTELLIGENCE

# --- a ceiling's ratio grows with its fact ---

RAG = "[corpus]\nrecords = {}\nbytes_per_record = {}\nread_within = {}"
INDEX = "[index]\nvectors = {}\ndims = {}"
JOB = (
    "[model]\nparameters = {}\n[training]\ntokens = {}\nfinish_within = {}\nsamples = 1e9\n"
    "bytes_per_sample = {}"
)
TABLES = "[tables]\nrows = {}\ndims = {}\n[serving]\nrequests_per_s = {}"
ANSWER = (
    "[model]\nparameters = {}\n[serving]\nrequests_per_s = {}\nprompt_tokens = {}\n"
    "output_tokens = {}\nsteps = {}"
)
STREAMS = "[streams]\ncount = {}\nbytes_per_s = {}\nseconds_per_second = {}"
AGENTS = (
    "[agents]\ncount = 9\ncontrol_period = {}\nround_trip = {}\nperceive_time = {}\n"
    "decide_time = {}\nlongest_outage = {}\ntolerable_hold = {}"
)

# Template, which of its facts, the ceiling's axis, name and unit, and whether it grows or shrinks.
GROWTH = [
    (RAG, 0, DATA, "data", "B", +1),
    (RAG, 0, DATA, "data", "B/s", +1),
    (RAG, 1, DATA, "data", "B/s", +1),
    (RAG, 2, DATA, "data", "B/s", -1),
    (INDEX, 0, DATA, "data", "B", +1),
    (INDEX, 1, DATA, "data", "B", +1),
    (JOB, 0, TRAINING, "compute", "FLOP/s", +1),
    (JOB, 0, MODEL, "model", "B", +1),
    (JOB, 1, TRAINING, "compute", "FLOP/s", +1),
    (JOB, 2, TRAINING, "compute", "FLOP/s", -1),
    (JOB, 2, TRAINING, "compute", "B/s", -1),
    (JOB, 3, TRAINING, "compute", "B/s", +1),
    (TABLES, 0, MODEL, "model", "B", +1),
    (TABLES, 1, MODEL, "model", "B", +1),
    (TABLES, 1, INFERENCE, "throughput", "/s", +1),
    (TABLES, 2, INFERENCE, "throughput", "/s", +1),
    (ANSWER, 0, MODEL, "model", "B", +1),
    (ANSWER, 0, INFERENCE, "throughput", "/s", +1),
    (ANSWER, 1, INFERENCE, "throughput", "/s", +1),
    (ANSWER, 2, INFERENCE, "throughput", "/s", +1),
    (ANSWER, 3, INFERENCE, "throughput", "/s", +1),
    (ANSWER, 4, INFERENCE, "throughput", "/s", +1),
    (STREAMS, 0, DATA, "data", "B/s", +1),
    (STREAMS, 1, DATA, "data", "B/s", +1),
    (STREAMS, 0, INFERENCE, "throughput", "accelerators", +1),
    (STREAMS, 2, INFERENCE, "throughput", "accelerators", +1),
    (AGENTS, 0, INTELLIGENCE, "latency", "s", -1),
    (AGENTS, 1, INTELLIGENCE, "latency", "s", +1),
    (AGENTS, 2, INTELLIGENCE, "latency", "s", +1),
    (AGENTS, 3, INTELLIGENCE, "latency", "s", +1),
    (AGENTS, 4, INTELLIGENCE, "autonomy", "s", +1),
    (AGENTS, 5, INTELLIGENCE, "autonomy", "s", -1),
]


def ratio(facts: Facts, text: str, axis: Axis, name: str, unit: str) -> float:
    workload = parse_workload(text, where="test")
    found = find_ceilings(workload, facts.machine("h100"), facts)
    return max(c.ratio for c in found if (c.axis, c.name, c.unit) == (axis, name, unit))


@pytest.mark.parametrize(("template", "fact", "axis", "name", "unit", "sign"), GROWTH)
@settings(max_examples=30)
@given(base=st.lists(st.integers(1, 10**6), min_size=6, max_size=6), factor=st.integers(2, 100))
def test_a_ratio_grows_with_its_fact(
    template: str,
    fact: int,
    axis: Axis,
    name: str,
    unit: str,
    sign: int,
    base: list[int],
    factor: int,
) -> None:
    more = [value * factor if i == fact else value for i, value in enumerate(base)]
    facts = load_facts()
    before = ratio(facts, template.format(*base), axis, name, unit)
    after = ratio(facts, template.format(*more), axis, name, unit)
    assert (after - before) * sign > 0


# --- coordination is spread with any other axis ---

PIECES = (
    "[corpus]\nrecords = 1e{n}\nmay_leave_site = {yes}",
    "[index]\nvectors = 1e{n}",
    "[tables]\nrows = 1e{n}",
    "[model]\nparameters = 1e{n}",
    "[serving]\nrequests_per_s = 1e{n}",
    "[agents]\ncount = {n}\ncontrol_period = '1 s'\nround_trip = '{n}00 ms'\ndecide_apart = {no}",
    "[streams]\ncount = 1e{n}",
    "[sites]\ncount = {n}\nmay_export = {yes}",
)
pieces = st.lists(
    st.tuples(st.sampled_from(PIECES), st.integers(1, 14), st.booleans()),
    min_size=1,
    max_size=len(PIECES),
    unique_by=lambda piece: piece[0],
)


@given(pieces)
def test_coordination_is_spread_when_and_only_when_another_axis_is(
    chosen: list[tuple[str, int, bool]],
) -> None:
    text = "\n".join(
        piece.format(n=n, yes=str(yes).lower(), no=str(not yes).lower()) for piece, n, yes in chosen
    )
    at = locate(parse_workload(text, where="test"), load_facts())
    others = at.coordinates.spread - {COORDINATION}
    assert (COORDINATION in at.coordinates.spread) == bool(others)
    assert others == {c.axis for c in at.ceilings}
    assert all(c.ratio > 1 for c in at.ceilings)
    assert all(c.ratio <= 1 for c in at.headroom)
    assert not {c.axis for c in at.ceilings} & at.coordinates.refused
    assert [mark.axis for mark in at.marks] == list(AXES)
    for mark in at.marks:
        assert (mark.state == "spread") == (mark.axis in at.coordinates.spread)
