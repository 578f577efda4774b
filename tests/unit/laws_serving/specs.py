"""Workloads of every legal kind, for fuzzing the planners; and the named ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sextant.workload import Workload


def _size(low: float, high: float) -> st.SearchStrategy[float]:
    """Any order of magnitude as likely as any other."""
    return st.floats(-12, 27).map(lambda e: min(high, max(low, 10.0**e)))


_dtypes = st.sampled_from(["fp64", "fp32", "bf16", "fp8", "int8", "fp4"])
_whole = st.sampled_from([1, 2, 8, 64, 768, 4096, 10**6, 10**9])


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_model = st.one_of(
    st.builds(
        lambda p, a, d, k: {"parameters": p, "active_parameters": min(p, a), "dtype": d, "kind": k},
        _size(1, 1e15),
        _size(1, 1e15),
        _dtypes,
        st.sampled_from(["decoder", "encoder", "vision"]),
    ),
    st.builds(
        lambda e, a, x: {
            "parameters": 671e9,
            "layers": 61,
            "hidden": 7168,
            "heads": 128,
            "experts": e,
            "active_experts": min(a, e),
            "expert_ffn": 2048,
            "dtype": x,
        },
        st.integers(1, 4096),
        st.integers(1, 64),
        _dtypes,
    ),
)
_small = st.sampled_from([1, 2, 61, 7168, 10**7])
_shape = st.builds(
    lambda layers, hidden, rest: {"layers": layers, "hidden": hidden, "heads": 1, **rest},
    _small,
    _small,
    _some(
        kv_heads=st.just(1),
        ffn=_small,
        vocab=_small,
        experts=_small,
        attention=st.sampled_from(["mha", "mla"]),
        kv_rank=_small,
        kind=st.sampled_from(["decoder", "encoder"]),
    ),
)
_models = st.one_of(_model, _shape)
_index = st.builds(
    lambda v, rest: {"vectors": v, **rest},
    _size(1, 1e27),
    _some(
        dims=st.integers(1, 10**9),
        dtype=_dtypes,
        recall=st.floats(1e-9, 1),
        k=_whole,
    ),
)
_serving = st.builds(
    lambda r, rest: {"requests_per_s": r, **rest},
    _size(1e-12, 1e27),
    _some(
        deadline=_size(1e-12, 1e27),
        prompt_tokens=_size(1e-12, 1e27),
        output_tokens=_size(1e-12, 1e27),
        steps=_size(1e-12, 1e27),
        availability=st.floats(0, 0.999999999999),
    ),
)
_stage = st.builds(lambda s: {"name": "stage", "seconds": s}, st.floats(0, 1e27))
_streams = st.builds(
    lambda c, rest: {"count": c, **rest},
    _size(1, 1e27),
    _some(
        bytes_per_s=_size(1e-12, 1e27),
        seconds_per_second=_size(1e-12, 1e27),
        stages=st.lists(_stage, max_size=2),
    ),
)
_agents = st.fixed_dictionaries({"count": _whole, "decide_apart": st.booleans()})

workloads = _some(
    index=_index,
    serving=_serving,
    streams=_streams,
    agents=_agents,
    corpus=st.fixed_dictionaries(
        {"records": _size(1, 1e27), "bytes_per_record": _size(1e-12, 1e27)}
    ),
    model=st.dictionaries(st.sampled_from(["a", "b"]), _models, min_size=1, max_size=2),
    fleet=st.fixed_dictionaries(
        {
            "machine": st.sampled_from(["h100", "gb200", "cpu-server", "edge-drone"]),
            "count": st.one_of(st.none(), _whole),
        }
    ),
).map(Workload.model_validate)


def rag(**changes: Any) -> Workload:
    """Ten billion passages behind a 70B model; `table=dict(...)` changes fields."""
    tables: dict[str, dict[str, Any]] = {
        "index": {"vectors": 1e10, "dims": 768},
        "serving": {"requests_per_s": 100, "deadline": 1.0, "prompt_tokens": 2000},
        "model": {
            "embedder": {"kind": "encoder", "parameters": 110e6},
            "answerer": {"layers": 80, "hidden": 8192, "heads": 64, "kv_heads": 8, "ffn": 28672},
        },
        "fleet": {"machine": "h100-80gb-sxm"},
    }
    for table, fields in changes.items():
        tables[table] = tables.get(table, {}) | fields
    return Workload.model_validate(tables)
