"""Rows of published runs, read into what the laws of training take.

A prediction reads `machine`, `gpus`, `gpus_per_node`, `node_link_bytes_per_s`, `model`, `layout`
and `precision` of a row, and nothing else: not what was measured, nor notes, names or sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeGuard

from sextant.errors import SextantError
from sextant.facts import Facts, Machine
from sextant.facts.training import TrainingFacts
from sextant.laws.accelerator import Accelerator
from sextant.laws.layout import RECOMPUTE, Layout
from sextant.laws.machine import accelerator_of
from sextant.laws.mesh import INTERLEAVES
from sextant.laws.shape import TransformerShape
from sextant.plan.contradictions import contradiction

DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8", "fp4")
UNSTATED_MICRO_BATCHES = (1, 2, 4, 8)
LARGEST = 10**9
"""No whole number of a row (tokens of a sequence, GPUs, a batch) is larger."""
"""Absent is not the same as false: then the chip's usual stack decides."""
MLPS = ("gelu", "swiglu")
ATTENTIONS = ("standard", "full", "causal", "softmax", "mha", "gqa", "mqa", "mla")
"""Kinds of attention that have a law; all but the last are told apart by `kv_heads`."""
SLOWEST_LINK, FASTEST_LINK = 1e6, 1e14
"""Bytes per second that a node's links may have."""
SIZES = ("layers", "hidden", "heads", "vocab", "sequence")
"""What a model must state."""
PARTS = (
    ("kv_heads", "heads"),
    ("heads", "hidden"),
    ("active_experts", "experts"),
    ("dense_layers", "layers"),
    ("sliding_window_layers", "layers"),
)
"""Sizes of a model that are part of another."""


class UnpredictableError(SextantError):
    """A row that the laws cannot take; says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What one row asks: a shape on a machine, in one layout or in several that it leaves open."""

    id: str
    shape: TransformerShape
    layouts: tuple[Layout, ...]
    accelerator: Accelerator
    precision: str


def question(
    row: Mapping[str, Any], facts: Facts, training: TrainingFacts, *, name: str = "row"
) -> Question:
    """The question that a row asks, under the name that it is listed by.

    Raises:
        UnpredictableError: a key is missing, of the wrong kind, or contradicts another.
    """
    try:
        machine = facts.machine(str(row["machine"]))
        precision = row.get("precision") or "bf16"
        if precision not in PRECISIONS:
            raise UnpredictableError(f"no law for precision {precision!r:.40}")
        shape = shape_of(_part(row, "model"))
        domain = _whole(row, "gpus_per_node") or None
        accelerator = accelerator_of(
            machine,
            training,
            fast_domain=domain,
            node_link_bytes_per_s=_number(row, "node_link_bytes_per_s"),
        )
        said = _part(row, "layout")
        layouts = layouts_of(said, _whole(row, "gpus"), shape, machine)
        stated = bool(_whole(said, "micro_batch"))
        wrong_with = contradiction(shape, layouts[0], micro_batch=stated, domain=domain)
        if wrong_with is not None:
            raise UnpredictableError(wrong_with)
    except UnpredictableError:
        raise
    except KeyError as missing:
        raise UnpredictableError(f"the row has no {missing.args[0]}") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError) as wrong:
        raise UnpredictableError(f"not a row that can be read: {wrong}") from None
    except SextantError as unknown:
        raise UnpredictableError(unknown.what) from None
    return Question(
        id=name, shape=shape, layouts=layouts, accelerator=accelerator, precision=precision
    )


def shape_of(model: Mapping[str, Any]) -> TransformerShape:
    """The shape that a row's `model` states; keys and values default to as many as queries."""
    kinds = {f.name: str(f.type) for f in fields(TransformerShape)}
    values = {k: _checked(model, k, kinds[k]) for k, v in model.items() if k in kinds and v != 0}
    values = {k: v for k, v in values.items() if v is not None}
    missing = [name for name in SIZES if name not in values]
    if missing:
        raise UnpredictableError(f"the model has no {missing[0]}")
    values.setdefault("kv_heads", values["heads"])
    if "ffn" not in values and (not values.get("experts") or values.get("dense_layers")):
        raise UnpredictableError("the model has no ffn")
    values.setdefault("ffn", values.get("expert_ffn", 0))
    if values.get("experts"):
        values.setdefault("expert_ffn", values["ffn"])
        values.setdefault("active_experts", 1)
    if values.get("sliding_window"):
        values.setdefault("sliding_window_layers", values["layers"])
    shape = TransformerShape(**values)
    sizes = (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.vocab, shape.sequence)
    if min(sizes) <= 0:
        raise UnpredictableError("a size of the model is not positive")
    if shape.heads % shape.kv_heads:
        raise UnpredictableError(f"kv_heads {shape.kv_heads} do not divide {shape.heads} heads")
    if shape.attention == "mla" and not shape.kv_rank:
        raise UnpredictableError("latent attention (mla) without kv_rank")
    for part, whole in PARTS:
        if getattr(shape, part) > getattr(shape, whole):
            raise UnpredictableError(f"{part} is more than {whole}")
    return shape


def _checked(model: Mapping[str, Any], key: str, kind: str) -> Any:
    """A value of a row's model as the shape takes it; None stands for not stated."""
    value = model[key]
    if value is None:
        return None
    if kind == "bool":
        return _flag(model, key)
    if kind == "str":
        if key == "mlp" and value not in MLPS:
            raise UnpredictableError(f"no law for mlp {value!r:.40}")
        if key == "attention" and value not in ATTENTIONS:
            raise UnpredictableError(f"no law for attention {value!r:.40}")
        return value if value in (*MLPS, "mla") else None
    return _whole(model, key) or None


def layouts_of(
    layout: Mapping[str, Any], gpus: int, shape: TransformerShape, machine: Machine
) -> tuple[Layout, ...]:
    """The layouts that a row leaves open: one, if it states micro-batch and interleave."""
    degrees: dict[str, Any] = {name: _whole(layout, name) or 1 for name in ("tp", "pp", "cp", "ep")}
    apart = degrees["tp"] * degrees["pp"] * degrees["cp"]
    gpus = gpus or apart * (_whole(layout, "dp") or 1)
    dp = _whole(layout, "dp") or max(1, gpus // apart)
    if apart * dp != gpus:
        raise UnpredictableError(f"tp pp dp cp = {apart * dp}, but the job has {gpus} GPUs")
    if not layout.get("ep") and shape.experts:
        degrees["ep"] = _largest_ep(shape.experts, degrees["tp"] * dp * degrees["cp"], machine)
    batch = _whole(layout, "global_batch")
    micro = _whole(layout, "micro_batch")
    if batch <= 0:
        batch = dp * (micro or 1)
    recompute = layout.get("recompute") or "none"
    if recompute not in RECOMPUTE:
        raise UnpredictableError(f"no law for recompute {recompute!r:.40}")
    if _whole(layout, "zero") > 3:
        raise UnpredictableError(f"no law for ZeRO {layout['zero']!r:.40}")
    modern = shape.mlp != "gelu" or "fp8" in machine.peak_flops_per_s
    rest = Layout(
        **degrees,
        dp=dp,
        global_batch=batch,
        zero=1 if layout.get("zero") is None else _whole(layout, "zero"),
        recompute=recompute,
        sequence_parallel=_flag(layout, "sequence_parallel", default=modern),
        embeddings_as_layers=_stated(layout, "embeddings_as_layers"),
        largest_stage_layers=_whole(layout, "largest_stage_layers") or None,
        gradient_bytes=_width(layout.get("gradient_dtype")),
        optimizer_offload=_flag(layout, "optimizer_offload"),
        tensor_parallel_overlap=_stated(layout, "tensor_parallel_overlap"),
        compiled=_flag(layout, "compiled"),
        fused_cross_entropy=_flag(layout, "fused_cross_entropy"),
    )
    return _open(rest, shape, micro, _whole(layout, "interleave"))


def _stated(layout: Mapping[str, Any], key: str) -> bool | None:
    """A flag that a row may leave open."""
    return None if layout.get(key) is None else _flag(layout, key)


def _open(rest: Layout, shape: TransformerShape, micro: int, interleave: int) -> tuple[Layout, ...]:
    each = rest.global_batch // rest.dp
    micros = [micro] if micro else [b for b in UNSTATED_MICRO_BATCHES if each % b == 0] or [1]
    chunks = [interleave] if interleave else [1]
    if not interleave and rest.pp > 1:
        held = -(-shape.layers // rest.pp)
        chunks = [v for v in INTERLEAVES if held % v == 0]
    stated = {f.name: getattr(rest, f.name) for f in fields(Layout)}
    return tuple(
        Layout(**{**stated, "micro_batch": b, "interleave": v})
        for b in micros
        for v in chunks
        if v == 1 or interleave or (each // b) % rest.pp == 0
    )


def _width(dtype: object) -> int | None:
    """Bytes of a gradient's type; None where it is not stated."""
    if dtype is None:
        return None
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise UnpredictableError(f"no law for gradient_dtype {dtype!r:.40}")
    return DTYPE_BYTES[dtype]


def _largest_ep(experts: int, ranks: int, machine: Machine) -> int:
    limit = max(8, machine.fast_domain)
    return max(e for e in range(1, limit + 1) if experts % e == 0 and ranks % e == 0)


def _whole(row: Mapping[str, Any], key: str) -> int:
    """A whole number of a row; 0 where it is absent or null."""
    value = row.get(key)
    if value is None:
        return 0
    if not _is_number(value) or value != value // 1 or not 0 <= value <= LARGEST:
        raise UnpredictableError(f"{key} is not a whole number from 0 to a billion: {value!r:.40}")
    return int(value)


def _number(row: Mapping[str, Any], key: str) -> float | None:
    """A rate of a row; None where it is absent, null or 0."""
    value = row.get(key)
    if value is None or value == 0:
        return None
    if not _is_number(value) or not SLOWEST_LINK <= value <= FASTEST_LINK:
        raise UnpredictableError(f"{key} is not a rate of links: {value!r:.40}")
    return float(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _flag(row: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    """A yes or no of a row; the default where it is absent or null."""
    value = row.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise UnpredictableError(f"{key} is neither true nor false: {value!r:.40}")
    return value


def _part(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table of a row."""
    value = row[key]
    if not isinstance(value, Mapping):
        raise UnpredictableError(f"{key} is not an object: {value!r:.40}")
    return value


def legible(name: object) -> str:
    """A name as text that any terminal and file can hold, cut to 200 characters."""
    return str(name)[:200].encode("utf-8", "replace").decode("utf-8")
