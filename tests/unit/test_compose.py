"""One plan of many parts: who speaks, what adds up, and what every plan of the atlas holds to."""

import dataclasses
import math
from collections.abc import Callable

import pytest

from sextant.atlas import NAMES, atlas_text
from sextant.axes import AXES, Axis
from sextant.errors import InputError
from sextant.facts import Facts, load_facts
from sextant.plan import compose
from sextant.plan.compose import make_plan
from sextant.plan.part import Bill, Part, exact
from sextant.plan.position import Position, locate
from sextant.plan.quantity import Budget, Hardest, Plan, Stage, Striking
from sextant.workload import Workload, parse_workload

WORKLOAD = "name = 'mine'\n[corpus]\nrecords = 1e12\n[agents]\ncount = 3\ndecide_apart = {}"


def part(name: str, axis: Axis = Axis.DATA, **more: object) -> Part:
    plain = Part(
        name=name,
        quantities=(),
        layout={"of": name},
        striking=Striking(number=name, because=name),
        hardest=Hardest(what=name, axis=axis, because=name),
        busy={},
        waiting={},
    )
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]


@pytest.fixture
def compose_parts(monkeypatch: pytest.MonkeyPatch, facts: Facts) -> Callable[..., Plan]:
    """Makes a plan of stated parts, in the order of their planners."""

    def make(*parts: Part, decide_apart: bool = False) -> Plan:
        monkeypatch.setattr(compose, "_parts", lambda _workload, _machine, _facts: list(parts))
        workload = parse_workload(WORKLOAD.format(str(decide_apart).lower()), where="test")
        return make_plan(workload, facts, {})

    return make


def test_the_first_part_speaks(compose_parts: Callable[..., Plan]) -> None:
    plan = compose_parts(part("one"), part("two"))
    assert (plan.striking.number, plan.hardest.what) == ("one", "one")
    assert plan.layout == {"one": {"of": "one"}, "two": {"of": "two"}}


def test_agents_that_decide_apart_make_theirs_the_hard_part(
    compose_parts: Callable[..., Plan],
) -> None:
    parts = part("retrieval"), part("agents", Axis.INTELLIGENCE)
    assert compose_parts(*parts, decide_apart=True).hardest.what == "agents"
    assert compose_parts(*parts, decide_apart=False).hardest.what == "retrieval"


def test_of_two_parts_that_name_a_quantity_the_first_is_believed(
    compose_parts: Callable[..., Plan],
) -> None:
    one, two = (exact("query_p99_s", value, "s", "b", "s") for value in (1.0, 2.0))
    plan = compose_parts(part("one", quantities=(one,)), part("two", quantities=(two,)))
    assert plan.quantities["query_p99_s"].value == 1.0


def bill(count: float, usd: float, hours: float | None = None) -> Bill:
    return Bill(what="x", machine="m", count=count, usd_per_hour=usd, hours=hours)


def test_bills_add_up_by_the_month_and_in_all(compose_parts: Callable[..., Plan]) -> None:
    plan = compose_parts(
        part("one", bills=(bill(2, 10.0), bill(3, 5.0, hours=100))),
        part("two", bills=(bill(1, 4),)),
    )
    monthly, whole = plan.quantities["cost_usd_per_month"], plan.quantities["cost_usd"]
    assert monthly.value == pytest.approx((20 + 4) * 730.5)
    assert whole.value == pytest.approx(1500)
    assert monthly.low < monthly.value < monthly.high
    assert "730.5 h" in monthly.because


def test_without_a_bill_there_is_no_cost(compose_parts: Callable[..., Plan]) -> None:
    assert not compose_parts(part("one")).quantities


def test_lean_weighs_each_part_by_the_machines_it_is_billed_for(
    compose_parts: Callable[..., Plan],
) -> None:
    many = part("many", busy={Axis.DATA: 3.0}, waiting={Axis.MODEL: 1.0}, bills=(bill(9, 1),))
    few = part("few", busy={Axis.TRAINING: 10.0}, bills=(bill(1, 1),))
    lean = compose_parts(many, few).lean
    assert lean.busy[Axis.DATA] == pytest.approx(9 * 0.75 / (9 * 0.75 + 1))
    assert lean.busy[Axis.TRAINING] == pytest.approx(1 / (9 * 0.75 + 1))
    assert lean.waiting[Axis.MODEL] == 1.0


def test_idle_parts_lean_nowhere(compose_parts: Callable[..., Plan]) -> None:
    lean = compose_parts(part("one")).lean
    assert set(lean.busy.values()) == set(lean.waiting.values()) == {0.0}


def test_risks_are_told_once_and_the_first_budget_is_shown(
    compose_parts: Callable[..., Plan],
) -> None:
    stage = Stage(name="s", axis=Axis.DATA, seconds=1.0)
    budget = Budget(allowed_s=2.0, stages=(stage,), what="w")
    plan = compose_parts(
        part("one", risks=("a", "b")), part("two", risks=("b", "c"), budget=budget)
    )
    assert plan.risks == ("a", "b", "c")
    assert plan.budget == budget


def test_an_unknown_machine_is_wrong_input(facts: Facts) -> None:
    workload = parse_workload("[corpus]\nrecords = 1", where="test")
    with pytest.raises(InputError, match="no such machine"):
        make_plan(workload, facts, {}, "cray-1")


# --- every plan of the atlas ---


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("web-scale-rag", {"retrieval", "serving"}),
        ("planetary-recommender", {"recommender"}),
        ("foundation-pretraining", {"pretraining"}),
        ("drone-swarm", {"swarm"}),
        ("federated-imaging", {"federated"}),
        ("live-moderation", {"streams", "retrieval", "serving"}),
        ("moe-serving", {"serving"}),
    ],
)
def test_a_system_is_laid_out_by_the_planners_of_its_tables(name: str, parts: set[str]) -> None:
    assert set(plan_of(name).layout) == parts


def plan_of(name: str) -> Plan:
    facts = load_facts()
    return make_plan(workload_of(name), facts, _atlas(facts))


def workload_of(name: str) -> Workload:
    return parse_workload(atlas_text(name), where=name)


def _atlas(facts: Facts) -> dict[str, Position]:
    return {name: locate(workload_of(name), facts) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_each_number_lies_in_its_interval_with_its_arithmetic_and_source(name: str) -> None:
    for key, quantity in plan_of(name).quantities.items():
        assert quantity.name == key
        assert quantity.low <= quantity.value <= quantity.high, key
        assert math.isfinite(quantity.value), key
        assert quantity.because.strip(), key
        assert quantity.source.strip(), key


UNITS = {
    "_bytes": "B",
    "_bytes_per_gpu": "B",
    "_per_vector": "B",
    "_bytes_per_s": "B/s",
    "_s": "s",
    "_usd": "USD",
    "_usd_per_month": "USD",
    "_fraction": "fraction",
    "_days": "days",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_quantity_s_name_carries_its_unit(name: str) -> None:
    for key, quantity in plan_of(name).quantities.items():
        if key.endswith("_per_s"):
            assert quantity.unit in ("/s", "B/s", "tokens/s", "FLOP/s", "samples/s", "m/s"), key
            continue
        for ending, unit in UNITS.items():
            if key.endswith(ending):
                assert quantity.unit == unit, key
    assert "_" not in "".join(q.unit for q in plan_of(name).quantities.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_order_is_over_the_spread_axes_with_coordination_last(name: str) -> None:
    plan = plan_of(name)
    order = [step.axis for step in plan.order]
    assert set(order) == plan.coordinates.spread
    assert len(order) == len(set(order))
    assert order[-1] is Axis.COORDINATION
    for step in plan.order:
        assert step.because
        assert step.cost, f"what spreading {step.axis} costs"


@pytest.mark.parametrize("name", NAMES)
def test_lean_is_shares(name: str) -> None:
    lean = plan_of(name).lean
    assert sum(lean.busy.values()) == pytest.approx(1)
    assert sum(lean.waiting.values()) == pytest.approx(1) or not any(lean.waiting.values())
    assert set(lean.busy) == set(lean.waiting) == set(AXES)
    assert min(*lean.busy.values(), *lean.waiting.values()) >= 0


@pytest.mark.parametrize("name", NAMES)
def test_the_stages_of_a_budget_are_times(name: str) -> None:
    budget = plan_of(name).budget
    if budget is not None:
        assert budget.allowed_s > 0
        assert all(stage.seconds >= 0 for stage in budget.stages)
        assert any(stage.seconds > 0 for stage in budget.stages)


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_names_the_nearest_the_hardest_and_a_striking_number(name: str) -> None:
    plan = plan_of(name)
    assert plan.nearest
    assert plan.nearest.name != name
    assert any(character.isdigit() for character in plan.striking.number)
    assert plan.hardest.axis in plan.coordinates.spread
    assert plan.risks


@pytest.mark.parametrize("name", NAMES)
def test_planning_twice_gives_the_same_plan(name: str) -> None:
    assert plan_of(name) == plan_of(name)


def test_moderation_is_web_scale_rag_whose_merge_is_under_a_deadline() -> None:
    plan = plan_of("live-moderation")
    assert plan.nearest
    assert plan.nearest.name == "web-scale-rag"
    assert "merge" in f"{plan.hardest.what} {plan.hardest.because}"
    assert "deadline" in f"{plan.hardest.what} {plan.hardest.because}"


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("drone-swarm", Axis.INTELLIGENCE),
        ("agentic-rag", Axis.INTELLIGENCE),
        ("foundation-pretraining", Axis.COORDINATION),
    ],
)
def test_where_the_hardest_part_lies(name: str, axis: Axis) -> None:
    assert plan_of(name).hardest.axis is axis
