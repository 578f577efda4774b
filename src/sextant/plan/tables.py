"""How large embedding tables are, and over how many accelerators they must lie."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.facts import Facts, Machine
from sextant.laws.tables import optimizer_bytes, shards_for, table_bytes
from sextant.laws.zipf import lru_share, top_share
from sextant.plan.part import exact
from sextant.plan.quantity import Quantity
from sextant.units import show, show_count
from sextant.workload import DTYPE_BYTES, OPTIMIZER_STATES, Tables, Workload

ARITHMETIC = "closed form"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSizes:
    """The tables' bytes and shards, with the quantities that say them."""

    rows: float
    row_bytes: float
    state_row_bytes: float
    table_bytes: float
    total_bytes: float
    usable_bytes: float
    num_shards: float
    serving_shards: float
    table_because: str
    quantities: tuple[Quantity, ...]


def trains_tables(workload: Workload) -> bool:
    """Whether `[training]` is of the tables: samples, or no tokens of a language model."""
    training = workload.training
    return training is not None and (training.samples is not None or training.tokens is None)


def size_tables(workload: Workload, machine: Machine, facts: Facts) -> TableSizes:
    """Bytes of the tables, with and without optimizer state, and the shards that hold them."""
    tables = workload.tables
    assert tables is not None
    number = DTYPE_BYTES[tables.dtype]
    raw = table_bytes(tables.rows, tables.dims, number)
    state = _state_bytes(tables) if trains_tables(workload) else 0.0
    usable = machine.unit_memory_bytes * facts.value("table_usable_share")
    shards, serving = shards_for(raw + state, usable), shards_for(raw, usable)
    because = (
        f"{show_count(tables.rows)} rows x {tables.dims} dims x {number:g} B = {show(raw, 'B')}"
    )
    return TableSizes(
        rows=tables.rows,
        row_bytes=tables.dims * number,
        state_row_bytes=state / tables.rows,
        table_bytes=raw,
        total_bytes=raw + state,
        usable_bytes=usable,
        num_shards=shards,
        serving_shards=serving,
        table_because=because,
        quantities=(
            exact("table_bytes", raw, "B", because, ARITHMETIC),
            _total(tables, raw, state),
            _shards(raw + state, usable, shards, machine, facts),
            _cache(tables, facts),
        ),
    )


def _state_bytes(tables: Tables) -> float:
    states, row_wise = OPTIMIZER_STATES[tables.optimizer], tables.optimizer == "rowwise_adagrad"
    return optimizer_bytes(tables.rows, tables.dims, states, row_wise)


def _total(tables: Tables, raw: float, state: float) -> Quantity:
    if not state:
        because = f"{show(raw, 'B')} of rows, and no optimizer state"
    elif tables.optimizer == "rowwise_adagrad":
        kept = f"{show_count(tables.rows)} rows x 4 B of row-wise Adagrad"
        because = f"{show(raw, 'B')} of rows + {kept} = {show(raw + state, 'B')}"
    else:
        states = OPTIMIZER_STATES[tables.optimizer]
        kept = f"{states:g} x {show_count(tables.rows)} x {tables.dims} x 4 B of {tables.optimizer}"
        because = f"{show(raw, 'B')} of rows + {kept} = {show(raw + state, 'B')}"
    source = "Mudigere et al. 2022, section 4; Kingma and Ba 2015, algorithm 1"
    return exact("tables_total_bytes", raw + state, "B", because, source)


def _shards(total: float, usable: float, shards: float, machine: Machine, facts: Facts) -> Quantity:
    row = facts.rows["table_usable_share"]
    unit = machine.unit_memory_bytes
    holder = "an accelerator" if machine.accelerators else "a machine"
    because = (
        f"{show(total, 'B')} / ({show(unit, 'B')} {holder} x {row.value:.0%} usable = "
        f"{show(usable, 'B')}), rounded up"
    )
    return Quantity(
        name="num_shards",
        value=shards,
        unit="",
        low=shards_for(total, unit * row.high),
        high=shards_for(total, unit * row.low),
        because=because,
        source=row.source,
    )


def _cache(tables: Tables, facts: Facts) -> Quantity:
    share = facts.rows["table_cache_share"]
    kept = max(1.0, share.value * tables.rows)
    hits = top_share(tables.rows, kept, tables.zipf_exponent)
    recent = min(hits, lru_share(tables.rows, kept, tables.zipf_exponent))
    because = (
        f"the {share.value:.0%} most popular of {show_count(tables.rows)} rows take "
        f"{hits:.1%} of the look-ups under Zipf with exponent {tables.zipf_exponent:g}; "
        f"a cache of the most recent ones hits {recent:.1%}"
    )
    return Quantity(
        name="cache_hit_fraction",
        value=hits,
        unit="fraction",
        low=recent,
        high=hits,
        because=because,
        source=f"Breslau et al. 1999; Che et al. 2002; share: {share.source}",
    )
