"""A thousand specs, valid, half-valid and hostile: exit 0, 2 or 3, never a traceback or a hang."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import time
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from sextant.atlas import NAMES, atlas_text
from sextant.cli import main
from sextant.facts import load_facts
from sextant.workload import fields, schema

SLOWEST_S = 1.0
"""Of the processor, so that a busy machine does not fail an example."""


# --- values as people write them, by the type of their field ---


def magnitudes(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers of every order between two powers of ten."""
    return st.floats(low, high, allow_nan=False).map(lambda exponent: float(f"{10**exponent:.4g}"))


def written(
    low: float, high: float, hard_low: float, hard_high: float, units: list[str]
) -> st.SearchStrategy[Any]:
    """Mostly the usual orders of magnitude, sometimes all that is allowed; with units or not."""
    usual, allowed = magnitudes(low, high), magnitudes(hard_low, hard_high)
    edges = st.sampled_from([10.0**hard_low, 10.0**hard_high])
    number = st.one_of(usual, usual, usual, usual, usual, usual, allowed, edges)
    if not units:
        return number
    with_unit = st.builds(
        lambda value, unit: f"{value:.6g} {unit}", magnitudes(-1, 3), st.sampled_from(units)
    )
    return st.one_of(number, with_unit)


def whole(high: float, hard_high: int) -> st.SearchStrategy[Any]:
    usual = magnitudes(0, high).map(int)
    return st.one_of(usual, usual, usual, st.sampled_from([1, 2, 3, 8, hard_high]))


KINDS: dict[Any, st.SearchStrategy[Any]] = {
    fields.Count: written(0, 13, 0, 27, ["thousand", "million", "B", "k"]),
    fields.Number: written(-2, 5, -12, 27, []),
    fields.Whole: whole(5, 10**9),
    fields.Size: whole(4.5, 10**7),
    fields.Parameters: written(3, 13, 0, 15, ["million", "billion"]),
    fields.WholeFromZero: st.integers(0, 5) | st.sampled_from([0, 10**9]),
    fields.Bytes: written(0, 9, -12, 27, ["B", "kB", "MiB", "GB"]),
    fields.Seconds: written(-4, 8, -12, 27, ["ms", "s", "min", "days", "years"]),
    fields.SecondsFromZero: st.just(0) | written(-5, 3, -12, 27, ["µs", "ms", "s"]),
    fields.PerSecond: written(-2, 7, -12, 27, ["/s", "/day", "k/s"]),
    fields.BytesPerSecond: written(2, 11, -12, 27, ["Mbit/s", "GB/s"]),
    fields.Metres: written(-2, 4, -12, 27, ["cm", "m", "km"]),
    fields.MetresPerSecond: written(-2, 3, -12, 27, ["m/s", "km/h"]),
    fields.Fraction: st.floats(0.001, 1) | st.sampled_from([1e-12, 0.5, 0.999999999, 1.0, "95%"]),
    fields.Probability: st.floats(0, 0.999) | st.sampled_from([0.0, 0.999999999999, "10%"]),
    bool: st.booleans(),
}
HOSTILE: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=20),
    st.booleans(),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.sampled_from(["30 parsecs", "1e400", "10^999", "-5 s", "", "NaN", "٣", "9" * 70, "\x7f"]),
)


def value_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values that a field of this type may have."""
    if hint in KINDS:
        return KINDS[hint]
    if literals := [a for a in get_args(hint) if isinstance(a, str)]:
        return st.sampled_from(literals)
    for option in get_args(hint):
        if option in KINDS or any(isinstance(a, str) for a in get_args(option)):
            return value_of(option)
    return magnitudes(-2, 0.5)


def table(model: type[BaseModel], needed: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    """A table of the file with some of its fields."""
    hints = get_type_hints(model, include_extras=True)
    every = {name: value_of(hints[name]) for name in model.model_fields if name != "stages"}
    return st.fixed_dictionaries({name: every.pop(name) for name in needed}, optional=every)


MACHINES = st.sampled_from(["h100", "a100", "cpu-server", "edge-drone", "gb200", "b300", "h800"])
MODEL = st.one_of(
    table(schema.Model, {"parameters"}).filter(lambda m: m.setdefault("kind", "decoder")),
    st.fixed_dictionaries(
        {"layers": st.integers(1, 200), "hidden": st.integers(1, 160).map(lambda n: n * 128)},
        optional={
            "heads": st.sampled_from([1, 8, 16, 64, 128]),
            "kv_heads": st.sampled_from([1, 8]),
            "ffn": st.integers(1, 10**5),
            "vocab": st.integers(1, 10**6),
            "sequence": st.sampled_from([1, 128, 2048, 8192, 131072, 10**7]),
            "experts": st.sampled_from([1, 8, 64, 256]),
            "active_experts": st.sampled_from([1, 2, 8]),
            "dtype": st.sampled_from(list(schema.DTYPE_BYTES)),
            "attention": st.sampled_from(["mha", "mla"]),
            "kind": st.sampled_from(["decoder", "encoder", "vision", "ranker"]),
        },
    ),
)
TABLES: dict[str, st.SearchStrategy[Any]] = {
    "corpus": table(schema.Corpus, {"records"}),
    "index": table(schema.Index, {"vectors"}),
    "tables": table(schema.Tables, {"rows"}),
    "model": MODEL
    | st.dictionaries(
        st.sampled_from(["judge", "embedder", "a", "ü b"]), MODEL, min_size=1, max_size=2
    ),
    "training": table(schema.Training, set()),
    "serving": table(schema.Serving, {"requests_per_s"}),
    "agents": table(schema.Agents, {"count"}),
    "streams": table(schema.Streams, {"count"}),
    "sites": table(schema.Sites, {"count"}),
    "fleet": st.fixed_dictionaries(
        {}, optional={"machine": MACHINES, "count": KINDS[fields.Whole]}
    ),
}


@st.composite
def valid(draw: st.DrawFn) -> dict[str, Any]:
    """A document of some tables; what is trained has something to be trained."""
    names = draw(st.lists(st.sampled_from(list(TABLES)), min_size=1, max_size=5, unique=True))
    if "training" in names and "tables" not in names and "model" not in names:
        names.append("model")
    return {name: draw(TABLES[name]) for name in names}


VALID = valid()


# --- as TOML text ---


def toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else repr(value).replace("inf", "inf")
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
    return str(value)


def toml_text(document: dict[str, Any]) -> str:
    lines = [f"{toml_value(k)} = {toml_value(v)}" for k, v in document.items() if not is_table(v)]
    for name, content in document.items():
        if not is_table(content):
            continue
        if content and all(is_table(inner) for inner in content.values()):
            for inner, values in content.items():
                lines.append(f"[{name}.{toml_value(inner)}]")
                lines += [f"{toml_value(k)} = {toml_value(v)}" for k, v in values.items()]
            continue
        lines.append(f"[{toml_value(name)}]")
        lines += [f"{toml_value(k)} = {toml_value(v)}" for k, v in content.items()]
    return "\n".join(lines)


def is_table(value: Any) -> bool:
    return isinstance(value, dict)


@st.composite
def half_valid(draw: st.DrawFn) -> str:
    """A valid document with a value, a key or a table that does not belong."""
    document = draw(VALID)
    name = draw(st.sampled_from(list(document)))
    target = document[name] if draw(st.booleans()) else document
    keys = [*target, *draw(st.lists(st.text(min_size=1, max_size=8), max_size=1))]
    target[draw(st.sampled_from(keys or ["x"]))] = draw(HOSTILE)
    return toml_text(document)


@st.composite
def atlas_changed(draw: st.DrawFn) -> str:
    """A system of the atlas with up to four of its facts multiplied or left out."""
    lines = atlas_text(draw(st.sampled_from(NAMES))).partition("[sources]")[0].splitlines()
    for _ in range(draw(st.integers(1, 4))):
        spot = draw(st.integers(0, len(lines) - 1))
        if draw(st.integers(0, 4)) == 0:
            del lines[spot]
            lines.append("")
        else:
            factor = draw(st.sampled_from([0.001, 0.1, 0.5, 2, 3, 10, 1000, 10**6]))
            lines[spot] = re.sub(
                r"(?<= = )(\"?)([\d.]+)\b(?!\^)",
                lambda m, by=factor: f"{m[1]}{float(m[2]) * by:.6g}",
                lines[spot],
            )
    return "\n".join(lines)


@st.composite
def torn(draw: st.DrawFn) -> str:
    """A text of the atlas with a stretch cut out, doubled or written over."""
    text = atlas_text(draw(st.sampled_from(NAMES)))
    start = draw(st.integers(0, len(text)))
    end = min(len(text), start + draw(st.integers(0, 40)))
    return text[:start] + draw(st.text(max_size=10) | st.just(text[start:end] * 2)) + text[end:]


SPECS = st.one_of(
    VALID.map(toml_text),
    VALID.map(toml_text),
    VALID.map(toml_text),
    atlas_changed(),
    atlas_changed(),
    half_valid(),
    torn(),
    st.text(max_size=60),
)


# --- what must hold of each ---


def run_plan(*arguments: str) -> tuple[int, str, str, float]:
    """Runs `sextant plan` in this process; the time is the processor's."""
    out, err = io.StringIO(), io.StringIO()
    start = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["plan", *arguments])
    return code, out.getvalue(), err.getvalue(), time.process_time() - start


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def check_plan(plan: dict[str, Any]) -> None:
    for name, quantity in plan["quantities"].items():
        low, value, high = quantity["low"], quantity["value"], quantity["high"]
        assert None not in (low, value, high), f"{name} is not finite: {quantity}"
        assert low <= value <= high, f"{name}: {quantity}"
        assert quantity["because"], name
        assert quantity["source"], name
    for ceiling in plan["ceilings"]:
        assert ceiling["ratio"] > 1
    axes = plan["coordinates"]["axes"]
    assert ("coordination" in axes) == bool(set(axes) - {"coordination"})
    assert {step["axis"] for step in plan["order"]} == set(axes)
    for shares in (plan["lean"], plan["lean_waiting"]):
        assert sum(shares.values()) == pytest.approx(1) or not any(shares.values())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file, written anew for each example."""
    return tmp_path_factory.mktemp("fuzz") / "spec.toml"


def test_a_thousand_specs(path: Path) -> None:
    seen = {0: 0, 2: 0, 3: 0}
    run_plan("atlas:foundation-pretraining", "--json")  # imports are not an example's time

    @settings(max_examples=max(1000, settings().max_examples))
    @given(SPECS)
    def each(text: str) -> None:
        path.write_text(text, encoding="utf-8", newline="")
        code, out, err, seconds = run_plan(str(path), "--json")
        assert code in seen, f"exit {code}: {err}"
        seen[code] += 1
        assert "Traceback" not in err
        if code == 0:
            check_plan(json.loads(out, parse_constant=refuse_constant))
        else:
            assert out == ""
            assert err.startswith("error: "), err
        assert seconds < SLOWEST_S, f"{seconds:.2f} s"

    each()
    assert seen[0] >= 200, f"too few specs were planned: {seen}"
    assert seen[2] >= 100, f"too few specs were refused: {seen}"
    assert seen[3] >= 10, f"too few specs were infeasible: {seen}"


@pytest.mark.parametrize("option", ["", "--html", "--markdown"])
def test_whatever_can_be_planned_can_be_printed(path: Path, tmp_path: Path, option: str) -> None:
    page = tmp_path / "page"

    @settings(max_examples=40)
    @given(st.one_of(VALID.map(toml_text), atlas_changed()))
    def each(text: str) -> None:
        path.write_text(text, encoding="utf-8", newline="")
        arguments = [option, str(page)] if option else []
        code, out, err, _ = run_plan(str(path), *arguments)
        assert code in (0, 2, 3), err
        if code == 0:
            shown = page.read_text(encoding="utf-8") if option else out
            assert len(shown) > 200
            assert not re.search(r"\b(nan|inf)\b|[=:] None\b", shown), "no number is shown"

    each()


def test_every_machine_can_be_planned_for() -> None:
    for name in NAMES:
        for machine in load_facts().machines:
            code, out, err, _ = run_plan(f"atlas:{name}", "--machine", machine, "--json")
            assert code in (0, 3), f"{name} on {machine}: {err}"
            if code == 0:
                check_plan(json.loads(out, parse_constant=refuse_constant))
