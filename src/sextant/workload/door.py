"""The door: TOML text in, a checked `Workload` out, or an error that says what to change."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sextant.errors import InputError
from sextant.workload import schema
from sextant.workload.schema import Workload

LARGEST_SPEC_BYTES = 1_000_000
_CONTENT = ("corpus", "index", "tables", "model", "training", "serving", "agents")
_ALL_CONTENT = (*_CONTENT, "streams", "sites")


def read_workload(path: Path) -> Workload:
    """Reads a workload from a TOML file.

    Raises:
        InputError: the file is missing, not TOML, or says something that a workload may not.
    """
    try:
        with path.open("rb") as stream:  # a pipe does not tell its size, so read no more than this
            content = stream.read(LARGEST_SPEC_BYTES + 1)
        if len(content) > LARGEST_SPEC_BYTES:
            raise InputError("the file is over 1 MB; a workload is a page of TOML", where=str(path))
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("the file is not UTF-8 text", where=str(path)) from None
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        hint = "give a TOML file, or atlas:NAME (`sextant map` lists the names)"
        raise InputError(reason, where=str(path), hint=hint) from None
    return parse_workload(text, where=str(path), name=path.stem)


def parse_workload(text: str, *, where: str, name: str = "workload") -> Workload:
    """Parses a workload from TOML text; `name` is used where the text gives none."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"not valid TOML: {str(error)[:200]}", where=where) from None
    if not any(table in document for table in _ALL_CONTENT):
        known = ", ".join(f"[{table}]" for table in _ALL_CONTENT)
        unknown = next((key for key in document if key not in Workload.model_fields), None)
        hint = _suggestion(unknown, list(Workload.model_fields)) if unknown else None
        raise InputError(f"at least one table is needed of {known}", where=where, hint=hint)
    try:
        workload = Workload.model_validate({"name": name[:80] or "workload", **document})
    except ValidationError as error:
        raise _friendly(error, where) from None
    _check_together(workload, where)
    return workload


def _friendly(error: ValidationError, where: str) -> InputError:
    found = error.errors(include_url=False)
    first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
    steps = [str(step) for step in first["loc"]]
    if steps[:2] == ["model", "model"]:  # `[model]` was written, `model.model` is ours
        steps = steps[1:]
    field = ".".join(steps) or "document"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    spot = f"{where}: {field[:120]}"
    if first["type"] == "extra_forbidden":
        hint = _suggestion(steps[-1], _fields_at(steps[:-1]))
        return InputError(f"unknown key{more}", where=spot, hint=hint)
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    if isinstance(given, str | int | float) and str(given)[:40] not in message:
        message += f", not {str(given)[:40]!r}"
    return InputError(f"{message[:300]}{more}", where=spot, hint=_hint(first))


def _hint(first: Any) -> str | None:
    if first["type"] == "literal_error":
        given, expected = str(first.get("input")), first["ctx"]["expected"]
        close = difflib.get_close_matches(given, [v.strip(" '") for v in expected.split(",")], 1)
        return f"did you mean {close[0]!r}?" if close else f"use one of {expected}"
    if first["type"] == "missing":
        return f"add `{first['loc'][-1]} = ...`"
    if first["type"] in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
        return 'check the unit: sizes and times are written as in "30 TB" or "50 ms"'
    return None


_TABLE_NAMES = {"fleet": "FleetSpec", "stages": "StreamStage"}


def _fields_at(steps: list[str]) -> list[str]:
    model: type[BaseModel] = Workload
    for step in steps:
        table = _TABLE_NAMES.get(step, step.capitalize())
        if isinstance(found := getattr(schema, table, None), type) and issubclass(found, BaseModel):
            model = found
    return list(model.model_fields)


def _suggestion(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "known keys: " + ", ".join(known)


def _check_together(workload: Workload, where: str) -> None:
    """What no single field can say."""
    if workload.index and not workload.num_vectors:
        raise InputError(
            "how many vectors?", where=f"{where}: index.vectors", hint="or give [corpus] records"
        )
    for name, model in workload.model.items():
        spot = f"{where}: model" if name == "model" else f"{where}: model.{name}"
        _check_model(model, spot)
    if workload.training and not workload.model and not workload.tables:
        raise InputError("what is trained?", where=f"{where}: training", hint="add [model]")
    for dotted in workload.sources:
        if not _exists(workload, dotted):
            hint = "sources name a fact as table.field"
            raise InputError(f"no such fact: {dotted[:80]!r}", where=f"{where}: sources", hint=hint)


def _check_model(model: schema.Model, spot: str) -> None:
    if model.parameters is None and (model.layers is None or model.hidden is None):
        raise InputError("how large?", where=spot, hint="give parameters, or layers and hidden")
    if model.active_experts and not model.experts:
        raise InputError("active_experts without experts", where=f"{spot}.active_experts")
    if model.experts and (model.active_experts or 1) > model.experts:
        raise InputError("more active experts than experts", where=f"{spot}.active_experts")
    if model.active_parameters and model.active_parameters > (model.parameters or 1e27):
        raise InputError(
            "more active parameters than parameters", where=f"{spot}.active_parameters"
        )
    if model.dense_layers > (model.layers or 10**9):
        raise InputError("more dense layers than layers", where=f"{spot}.dense_layers")
    if model.sliding_window_layers and not model.sliding_window:
        raise InputError(
            "sliding_window_layers without sliding_window", where=f"{spot}.sliding_window_layers"
        )
    if (model.sliding_window_layers or 0) > (model.layers or 10**9):
        raise InputError("more windowed layers than layers", where=f"{spot}.sliding_window_layers")
    if model.heads and model.kv_heads and model.heads % model.kv_heads:
        raise InputError("kv_heads must divide heads", where=f"{spot}.kv_heads")
    if model.heads and model.hidden and not model.head_dim and model.hidden % model.heads:
        raise InputError("heads must divide hidden (or give head_dim)", where=f"{spot}.heads")


def _exists(workload: Workload, dotted: str) -> bool:
    value: Any = workload
    for step in dotted.split("."):
        if isinstance(value, dict):
            value = value.get(step, value.get("model"))
            if isinstance(value, BaseModel) and step in type(value).model_fields:
                value = getattr(value, step)
        elif isinstance(value, BaseModel) and step in type(value).model_fields:
            value = getattr(value, step)
        else:
            return False
        if value is None:
            return False
    return True
