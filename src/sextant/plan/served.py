"""What serving needs to know of a model."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.laws import experts, kv
from sextant.plan.shapes import active_parameters, parameters, shape_of
from sextant.workload import DTYPE_BYTES, Model, Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What serving needs to know of a model. `common` is read for every token, `routed` is not."""

    name: str
    parameters: float
    active_parameters: float
    layers: float
    moe_layers: float
    hidden: float
    precision: str
    element_bytes: float
    kv_bytes_per_token: float
    kv_because: str
    experts: float
    active_experts: float
    common_bytes: float
    routed_bytes: float
    decodes: bool

    @property
    def weight_bytes(self) -> float:
        """All weights."""
        return self.common_bytes + self.routed_bytes


def served_model(name: str, model: Model) -> Served:
    """Reads the numbers off the model's shape; a mixture's routed weights stand apart."""
    shape = shape_of(model)
    count, active = parameters(model), active_parameters(model)
    active = min(active, count)
    each = DTYPE_BYTES[model.dtype]
    common, routed = count, 0.0
    if model.experts and model.active_experts:
        common, routed = experts.split_parameters(
            count, active, model.experts, model.active_experts
        )
    kept = max(2.0, each)
    if shape.attention == "mla":
        latent = float(shape.kv_rank + shape.rope_head_dim)
        token = kv.latent_kv_bytes_per_token(shape.layers, latent, kept)
        text = f"{shape.layers} layers x {latent:g} latent values x {kept:g} B"
    else:
        token = kv.kv_bytes_per_token(shape.layers, shape.kv_heads, shape.head_width, kept)
        text = (
            f"2 (keys and values) x {shape.layers} layers x {shape.kv_heads} heads x "
            f"{shape.head_width} x {kept:g} B"
        )
    return Served(
        name=name,
        parameters=count,
        active_parameters=active,
        layers=float(shape.layers),
        moe_layers=float(shape.moe_layers or shape.layers) if routed else 0.0,
        hidden=float(shape.hidden),
        precision=model.dtype,
        element_bytes=each,
        kv_bytes_per_token=token,
        kv_because=text,
        experts=float(model.experts or 0) if routed else 0.0,
        active_experts=float(model.active_experts or 0) if routed else 0.0,
        common_bytes=common * each,
        routed_bytes=routed * each,
        decodes=model.kind == "decoder",
    )


def find_model(workload: Workload, kinds: tuple[str, ...]) -> Served | None:
    """The largest model of one of the kinds, an earlier kind preferred."""
    for kind in kinds:
        named = [(name, m) for name, m in workload.model.items() if m.kind == kind]
        if named:
            return served_model(*max(named, key=lambda pair: parameters(pair[1])))
    return None
