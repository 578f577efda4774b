"""Each rule of the map in both directions, on the atlas with a fact changed."""

from collections.abc import Callable

import pytest

from sextant.axes import AXES, Axis
from sextant.facts import Facts
from sextant.plan.position import Position
from sextant.plan.quantity import Ceiling

Place = Callable[..., Position]
DATA, TRAINING, MODEL = Axis.DATA, Axis.TRAINING, Axis.MODEL
INFERENCE, COORDINATION, INTELLIGENCE = Axis.INFERENCE, Axis.COORDINATION, Axis.INTELLIGENCE


def ceiling(position: Position, axis: Axis, name: str | None = None, unit: str = "") -> Ceiling:
    """The furthest exceeded ceiling of an axis, bound or not."""
    found = [
        c
        for c in (*position.ceilings, *position.headroom)
        if c.axis is axis and name in (None, c.name) and unit in ("", c.unit)
    ]
    return max(found, key=lambda c: c.ratio)


# --- data ---


def test_data_by_the_memory_that_an_index_needs(place: Place) -> None:
    """10^10 vectors x 768 x 4 B = 30.72 TB against the 2 TB of one node."""
    most = ceiling(place("web-scale-rag"), DATA)
    assert most.demand == 30.72e12
    assert most.ratio == pytest.approx(15.36)


def test_a_million_passages_take_data_away(place: Place) -> None:
    at = place("web-scale-rag", {"corpus.records": "10^6"})
    assert DATA not in at.coordinates.spread
    assert at.coordinates.spread == {MODEL, INFERENCE, COORDINATION}


def test_a_narrower_number_type_shrinks_the_index(place: Place) -> None:
    at = place("web-scale-rag", {"index.dtype": "uint8"})
    assert ceiling(at, DATA).demand == 7.68e12


def test_a_corpus_is_held_against_the_disk_not_the_memory(place_text: Place) -> None:
    """4 TB of text is over the node's 2 TB of memory and under its 30.72 TB of disk."""
    corpus = "[corpus]\nrecords = 1e9\nbytes_per_record = '{}'"
    assert DATA not in place_text(corpus.format("4 kB")).coordinates.spread
    assert DATA not in place_text(corpus.format("30.7 kB")).coordinates.spread
    assert DATA in place_text(corpus.format("30.8 kB")).coordinates.spread


def test_data_by_ingest_when_it_must_pass_in_time(place_text: Place) -> None:
    """1 TB fits any disk, and passes through the node's 50 GB/s in 20 s but not in 19."""
    corpus = "[corpus]\nrecords = 1e9\nbytes_per_record = '1 kB'\nread_within = '{} s'"
    assert DATA not in place_text(corpus.format(20.1)).coordinates.spread
    at = place_text(corpus.format(19.9))
    assert DATA in at.coordinates.spread
    assert ceiling(at, DATA, unit="B/s").capacity == 50e9


def test_data_by_the_ingest_of_streams(place: Place) -> None:
    """200,000 x 2.5 Mbit/s = 62.5 GB/s; the index of 4.1 TB would bind too, so it is cut."""
    small = {"index.vectors": "2 million"}
    at = place("live-moderation", small)
    assert ceiling(at, DATA).demand == pytest.approx(62.5e9)
    assert DATA in at.coordinates.spread
    at = place("live-moderation", small | {"streams.count": 150_000})
    assert DATA not in at.coordinates.spread


def test_data_that_may_not_leave_is_refused_whatever_its_size(place: Place) -> None:
    at = place("federated-imaging")
    assert at.coordinates.refused == {DATA}
    mark = at.marks[AXES.index(DATA)]
    assert (mark.state, mark.ratio) == ("refused", None)
    at = place("federated-imaging", {"sites.may_export": True})
    assert at.coordinates.refused == frozenset()


def test_a_corpus_may_be_kept_at_its_site_as_well(place_text: Place) -> None:
    text = "[corpus]\nrecords = 1e12\nbytes_per_record = '1 kB'\nmay_leave_site = {}"
    assert place_text(text.format("true")).coordinates.spread == {DATA, COORDINATION}
    kept = place_text(text.format("false"))
    assert kept.coordinates.refused == {DATA}
    assert not kept.coordinates.spread
    assert DATA not in {c.axis for c in (*kept.ceilings, *kept.headroom)}


# --- training ---


def test_training_by_flops(place: Place) -> None:
    """6 x 405e9 x 15.6e12 FLOPs in 100 days against 8 x 989e12 x 40%: about 1,390 nodes."""
    at = place("foundation-pretraining", {"training.finish_within": "2400 h"})
    most = ceiling(at, TRAINING)
    assert most.name == "compute"
    assert most.ratio == pytest.approx(
        6 * 405.85e9 * 15.6e12 / (100 * 86_400) / (8 * 989e12 * 0.4), rel=0.01
    )


def test_fewer_tokens_take_training_away(place: Place) -> None:
    at = place("foundation-pretraining", {"training.tokens": "10 billion"})
    assert TRAINING not in at.coordinates.spread
    assert DATA in at.coordinates.spread, "the corpus is as large as before"


def test_a_later_deadline_takes_training_away(place: Place) -> None:
    at = place("foundation-pretraining", {"training.finish_within": "500 years"})
    assert TRAINING not in at.coordinates.spread


def test_training_by_reading_samples_though_the_arithmetic_is_modest(place: Place) -> None:
    """A petabyte a day is 11.6 GB/s; 112 cores decode 50 MB/s each, 5.6 GB/s."""
    modest = {"model.ranker.parameters": "5 million"}
    at = place("planetary-recommender", modest)
    reading = ceiling(at, TRAINING, unit="B/s")
    assert reading.ratio == pytest.approx(1e15 / 86_400 / 5.6e9, rel=1e-6)
    assert not ceiling(at, TRAINING, unit="FLOP/s").binds
    assert TRAINING in at.coordinates.spread
    at = place("planetary-recommender", modest | {"training.bytes_per_sample": "400 B"})
    assert TRAINING not in at.coordinates.spread


# --- model ---


def test_model_by_weights_when_it_only_answers(place_text: Place) -> None:
    """2 B a bf16 parameter: 70 GB are under an "80 GB" card of 85.5e9 bytes, 86 GB are over it."""
    text = "[model]\nparameters = {}\ndtype = '{}'\n[serving]\nrequests_per_s = 0.001"
    assert MODEL not in place_text(text.format("35e9", "bf16")).coordinates.spread
    assert MODEL in place_text(text.format("43e9", "bf16")).coordinates.spread
    assert MODEL not in place_text(text.format("70e9", "fp8")).coordinates.spread


def test_model_by_training_state(place_text: Place) -> None:
    """ZeRO's 16 B a parameter with mixed-precision Adam: 5e9 parameters are 80 GB, 5.5e9 88."""
    text = "[model]\nparameters = {}\n[training]\ntokens = 1\noptimizer = '{}'"
    assert MODEL not in place_text(text.format("5e9", "adam")).coordinates.spread
    at = place_text(text.format("5.5e9", "adam"))
    assert ceiling(at, MODEL).demand == pytest.approx(5.5e9 * 16)
    assert MODEL in at.coordinates.spread
    assert MODEL not in place_text(text.format("5.5e9", "sgd")).coordinates.spread


def test_a_smaller_answerer_takes_model_away(place: Place) -> None:
    at = place("web-scale-rag", {"model.answerer.layers": 40})
    assert at.coordinates.spread == {DATA, INFERENCE, COORDINATION}


def test_only_the_model_that_is_trained_carries_training_state(place_text: Place) -> None:
    text = (
        "[model.small]\nparameters = 1e9\n[model.large]\nparameters = 4e9\n"
        "[training]\ntokens = 1\noptimizer = 'adam'"
    )
    at = place_text(text)
    demands = sorted(c.demand for c in (*at.ceilings, *at.headroom) if c.axis is MODEL)
    assert demands == pytest.approx([2e9, 64e9])


def test_model_by_tables_with_their_optimizer_state(place: Place, facts: Facts) -> None:
    """2e9 rows x 128 x 4 B = 1.024 TB, and row-wise Adagrad adds 4 B a row."""
    tables = ceiling(place("planetary-recommender"), MODEL)
    assert tables.demand == pytest.approx(1.024e12 + 8e9)
    assert tables.capacity == facts.machine("h100").accelerator_memory_bytes


def test_a_table_of_a_gigabyte_takes_model_away(place: Place) -> None:
    at = place("planetary-recommender", {"tables.rows": "2x10^6"})
    assert at.coordinates.spread == {DATA, TRAINING, INFERENCE, COORDINATION}


def test_adagrad_keeps_a_number_for_each_dimension(place_text: Place) -> None:
    text = (
        "[model]\nkind = 'ranker'\nparameters = 1\n[training]\nsamples = 1\n"
        "[tables]\nrows = 1e6\ndims = 100\noptimizer = '{}'"
    )
    for optimizer, each in (("rowwise_adagrad", 404), ("adagrad", 800), ("adam", 1200)):
        assert ceiling(place_text(text.format(optimizer)), MODEL).demand == each * 1e6


def test_a_machine_without_accelerators_holds_models_in_its_memory(place_text: Place) -> None:
    text = "[model]\nparameters = 100e9\n[serving]\nrequests_per_s = 0.001"
    assert MODEL in place_text(text, machine="h100").coordinates.spread
    assert MODEL not in place_text(text, machine="cpu-server").coordinates.spread


# --- inference ---


def test_inference_by_requests(place: Place) -> None:
    """70e9 x 2 FLOPs x 2,200 tokens a request, eight H100 at 30%: a few requests a second."""
    at = place("web-scale-rag")
    assert 5 < ceiling(at, INFERENCE).capacity < 10
    at = place("web-scale-rag", {"serving.requests_per_s": 1})
    assert INFERENCE not in at.coordinates.spread


def test_longer_answers_need_more_replicas(place: Place) -> None:
    short = ceiling(place("moe-serving"), INFERENCE).ratio
    long = ceiling(place("moe-serving", {"serving.output_tokens": 3000}), INFERENCE)
    assert long.ratio == pytest.approx(2 * short)


def test_an_expert_model_is_charged_for_its_active_parameters_only(place: Place) -> None:
    sparse = ceiling(place("moe-serving"), INFERENCE).ratio
    at = place("moe-serving", {"model.active_parameters": "370 billion"})
    assert ceiling(at, INFERENCE).ratio == pytest.approx(10 * sparse)


def test_inference_by_streams(place_text: Place) -> None:
    """Eight accelerators look at 800 streams of 10 ms a second each, and at no more."""
    text = "[streams]\ncount = {}\nbytes_per_s = 1\nseconds_per_second = 0.01"
    assert INFERENCE not in place_text(text.format(800)).coordinates.spread
    assert INFERENCE in place_text(text.format(801)).coordinates.spread


def test_stages_of_a_stream_add_up(place_text: Place) -> None:
    text = (
        "[streams]\ncount = 800\nbytes_per_s = 1\nseconds_per_second = 0.01\n"
        "[[streams.stages]]\nname = 'ocr'\nseconds = '10 ms'"
    )
    assert ceiling(place_text(text), INFERENCE).ratio == pytest.approx(2.0)


def test_inference_by_places(place: Place) -> None:
    assert ceiling(place("drone-swarm"), INFERENCE).unit == "places"
    central = place("drone-swarm", {"agents.perceive_at": "centre"})
    assert central.coordinates.spread == {INTELLIGENCE, COORDINATION}


# --- intelligence ---

QUICK_LINK = {"agents.round_trip": "8 ms"}
BRIEF_OUTAGE = {"agents.longest_outage": "300 ms"}


def test_intelligence_by_latency(place: Place) -> None:
    """100 ms there and back, 20 to perceive, 10 to decide: 130 ms against a period of 50."""
    at = place("drone-swarm", BRIEF_OUTAGE)
    most = ceiling(at, INTELLIGENCE)
    assert (most.name, most.ratio) == ("latency", pytest.approx(2.6))
    assert INTELLIGENCE in at.coordinates.spread
    at = place("drone-swarm", BRIEF_OUTAGE | QUICK_LINK)
    assert INTELLIGENCE not in at.coordinates.spread


def test_a_loop_of_two_seconds_takes_intelligence_away(place: Place) -> None:
    slow = {"agents.control_period": "2 s"}
    at = place("drone-swarm", slow | BRIEF_OUTAGE)
    assert at.coordinates.spread == {INFERENCE, COORDINATION}
    assert INTELLIGENCE in place("drone-swarm", slow).coordinates.spread, "by the outage alone"


def test_intelligence_by_an_outage_longer_than_agents_may_hold(place: Place) -> None:
    at = place("drone-swarm", QUICK_LINK)
    most = ceiling(at, INTELLIGENCE)
    assert (most.name, most.ratio) == ("autonomy", pytest.approx(2.5))
    at = place("drone-swarm", QUICK_LINK | {"agents.tolerable_hold": "1.1 s"})
    assert INTELLIGENCE not in at.coordinates.spread


def test_a_link_that_may_fail_is_taken_to_fail_for_longer_than_anyone_holds(
    place_text: Place,
) -> None:
    text = "[agents]\ncount = 9\ncontrol_period = '1 s'\ntolerable_hold = '5 s'\nlink_may_fail = {}"
    assert INTELLIGENCE not in place_text(text.format("false")).coordinates.spread
    at = place_text(text.format("true"))
    assert ceiling(at, INTELLIGENCE).demand == 10.0


def test_an_outage_needs_no_control_loop_to_be_too_long(place_text: Place) -> None:
    text = "[agents]\ncount = 9\nlongest_outage = '{}'\ntolerable_hold = '5 s'"
    assert INTELLIGENCE in place_text(text.format("6 s")).coordinates.spread
    assert INTELLIGENCE not in place_text(text.format("4 s")).coordinates.spread


def test_agents_hold_for_a_control_period_unless_they_say_more(place_text: Place) -> None:
    text = "[agents]\ncount = 9\nlongest_outage = '2 s'\ncontrol_period = '{}'"
    assert INTELLIGENCE in place_text(text.format("1 s")).coordinates.spread
    assert INTELLIGENCE not in place_text(text.format("3 s")).coordinates.spread


def test_intelligence_by_the_workload_s_own_word(place: Place) -> None:
    assert ceiling(place("agentic-rag"), INTELLIGENCE).ratio == 4
    told = place("agentic-rag", {"agents.decide_apart": False})
    assert told.coordinates.spread == {DATA, MODEL, INFERENCE, COORDINATION}


def test_one_agent_has_nobody_to_decide_apart_from(place: Place) -> None:
    alone = place("drone-swarm", {"agents.count": 1})
    assert not alone.coordinates.spread
    alone = place("agentic-rag", {"agents.count": 1})
    assert INTELLIGENCE not in alone.coordinates.spread
