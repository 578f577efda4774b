"""A rehearsal from end to end: scale the plan, predict, write the prediction down, run, compare."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sextant.axes import Axis
from sextant.errors import EngineError, InputError
from sextant.facts import Facts, Machine, home
from sextant.fleet import Fault, Fleet
from sextant.plan.quantity import Lean, Plan
from sextant.plan.rehearsal import RetrievalShape, predict_retrieval
from sextant.sights import record
from sextant.sights.drilling import judge
from sextant.sights.rehearsal import Answers, Citation, DrillResult, MissingShard, Rehearsal
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.drill import drill
from sextant.systems.rag.embed import Embedder, open_embedder
from sextant.systems.rag.progress import Progress
from sextant.systems.rag.rehearsal import Material, Observed, gather_material, rehearse
from sextant.systems.rag.service import Result, open_service
from sextant.workload import Workload

MOST_SHARDS = 8
_CLIENTS = 4
_QUESTIONS = 400
_DRILL_QUESTIONS = 120
_EMBEDDING_SHARE = 0.5
_SIZE_FILE = "passages"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A rehearsal that is ready to run: its material, shape and place on disk."""

    material: Material
    embedder: Embedder
    shape: RetrievalShape
    index_dir: Path
    scale: float


def check_runnable(workload: Workload) -> None:
    """Raises EngineError where the workload's system can be planned but not yet run."""
    if workload.index is None or workload.agents is not None or workload.streams is not None:
        what = f"{workload.name} can be planned, but not yet rehearsed or drilled"
        raise EngineError(what, hint="retrieval can: sextant rehearse atlas:web-scale-rag")


def set_stage(
    workload: Workload,
    plan: Plan,
    here: Machine,
    *,
    corpus: str = "stdlib",
    scale: float | None = None,
    minutes: float = 2.0,
    passages: int | None = None,
) -> Stage:
    """Chooses how much of the corpus to take, so that embedding it fits half of the minutes.

    Raises:
        InputError: the scale asks for more passages than the corpus has.
        EngineError: the system cannot be run yet, or an engine is missing.
    """
    check_runnable(workload)
    embedder = open_embedder()
    asked = passages
    if scale is not None:
        asked = max(1, round(workload.num_vectors * scale))
    shape = _bare_shape(workload, plan, embedder)
    key = hashlib.sha256(f"{corpus}|{scale}|{passages}|{minutes}|{shape}".encode()).hexdigest()
    folder = home() / "rehearsals" / key[:12]
    most = asked or _kept(folder) or _affordable(shape, here, workload, minutes)
    material = gather_material(open_corpus(corpus), embedder.folder, most, _QUESTIONS)
    if asked is not None and material.passages < 0.9 * asked:
        raise InputError(
            f"{asked:,} passages are asked for, and the corpus has {material.passages:,}",
            where="--scale",
            hint=f"at most {material.passages / workload.num_vectors:.2g}, or a larger --corpus",
        )
    shape = replace(
        shape,
        passages=material.passages,
        passage_tokens=material.passage_tokens,
        shards=min(shape.shards, material.passages),
    )
    _keep(folder, most)
    return Stage(
        material=material,
        embedder=embedder,
        shape=shape,
        index_dir=folder / "index",
        scale=material.passages / workload.num_vectors,
    )


def _bare_shape(workload: Workload, plan: Plan, embedder: Embedder) -> RetrievalShape:
    """The plan's shape on this machine's embedder, before a corpus is measured."""
    assert workload.index is not None
    config = embedder.folder.config
    return RetrievalShape(
        passages=1,
        shards=_shards(plan),
        dims=embedder.dims,
        k=workload.index.k,
        layers=int(config["num_hidden_layers"]),
        hidden=int(config["hidden_size"]),
        ffn=int(config["intermediate_size"]),
        passage_tokens=float(embedder.folder.max_tokens) * 0.7,
        precision="bf16" if embedder.number_format == "bfloat16" else "fp32",
        clients=_CLIENTS,
        questions=_QUESTIONS,
    )


def _kept(folder: Path) -> int | None:
    """How many passages an earlier rehearsal of the same took, so that its index serves again."""
    try:
        return int((folder / _SIZE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _keep(folder: Path, most: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{_SIZE_FILE}.new"
    beside.write_text(f"{most}\n", encoding="utf-8")
    beside.replace(folder / _SIZE_FILE)


def _shards(plan: Plan) -> int:
    planned = plan.quantities.get("num_shards")
    return max(1, min(MOST_SHARDS, int(planned.value if planned else 1)))


def _affordable(shape: RetrievalShape, here: Machine, workload: Workload, minutes: float) -> int:
    """Passages whose embedding takes half of the minutes, at the rate that the probe promises."""
    from sextant.laws.local import embedding_passages_per_s

    flops = here.measured.get(f"encoder_{shape.precision}_flops_per_s")
    if flops is None:
        raise InputError("this machine has not been probed with torch", hint="sextant probe")
    rate = embedding_passages_per_s(
        shape.passage_tokens, shape.layers, shape.hidden, shape.ffn, flops
    )
    seconds = 60.0 * minutes * _EMBEDDING_SHARE
    return int(max(64, min(workload.num_vectors, rate * seconds)))


def run_rehearsal(
    stage: Stage,
    here: Machine,
    facts: Facts,
    start: Callable[[], Fleet],
    progress: Progress,
    *,
    workload: Workload,
) -> Rehearsal:
    """Writes the predictions and their hash, runs, writes what was measured.

    Raises:
        InputError: this machine has not been probed.
        EngineError: an engine failed.
    """
    quantities, lean = predict_retrieval(stage.shape, here, facts)
    predictions = record.predictions_of(quantities)
    path = record.record_path()
    about = {"workload": workload.name, "scale": stage.scale, "shape": asdict(stage.shape)}
    key = record.write_predictions(path, predictions, at_s=time.time(), about=about)
    observed = rehearse(
        stage.material,
        stage.index_dir,
        stage.embedder,
        start,
        shards=stage.shape.shards,
        k=stage.shape.k,
        clients=stage.shape.clients,
        progress=progress,
    )
    record.write_measurements(
        path, key, observed.values, at_s=time.time(), outcome={"lean": observed.lean}
    )
    return Rehearsal(
        workload=workload.name,
        scale=stage.scale,
        fleet=f"{here.cores} cores, {stage.shape.shards} shard processes",
        sights=record.sights_of(predictions, observed.values),
        lean_predicted=lean,
        lean_measured=_lean(observed),
        record=str(path),
        plan_sha256=key.plan_sha256,
        notes=_notes(workload, stage),
    )


def run_drill(
    stage: Stage,
    fleet: Fleet,
    faults: Sequence[Fault],
    *,
    deadline_s: float,
    progress: Progress,
) -> tuple[DrillResult, Answers | None]:
    """Serves the rehearsal's index (built if it is not there), and puts the faults into it.

    Returns:
        what became of the faults, and the first answer that lacked a shard.

    Raises:
        InputError: a fault names a shard that there is not.
        EngineError: an engine failed.
    """
    shards = stage.shape.shards
    build_index(
        stage.material.corpus,
        stage.index_dir,
        stage.embedder,
        num_shards=shards,
        fold_at=None,
        progress=progress,
    )
    progress.stage("starting shards", shards)
    with open_service(stage.index_dir, fleet, embedder=stage.embedder) as service:
        progress.stage("drilling", None)
        questions = stage.material.questions[:_DRILL_QUESTIONS]
        drilled = drill(service, questions, faults, k=stage.shape.k, deadline_s=deadline_s)
    partial = drilled.partial
    return judge(drilled, shards), None if partial is None else shown(partial)


def shown(result: Result) -> Answers:
    """An answer as the report shows it."""
    return Answers(
        question=result.query,
        answer=result.answer or result.note,
        citations=tuple(Citation(**passage.as_json()) for passage in result.citations),
        coverage=result.coverage,
        timing=result.timing,
        missing=tuple(MissingShard(shard=m.member, why=m.why) for m in result.missing),
        deadline_s=result.deadline_s,
    )


def _lean(observed: Observed) -> Lean:
    busy, waiting = (
        {Axis(name): share for name, share in observed.lean[kind].items()}
        for kind in ("busy", "waiting")
    )
    return Lean(busy=busy, waiting=waiting)


def _notes(workload: Workload, stage: Stage) -> tuple[str, ...]:
    shape = stage.shape
    return (
        f"{shape.passages:,} real passages of {stage.material.corpus.name} stand for "
        f"{workload.num_vectors:,.0f}",
        f"{stage.embedder.folder.name} ({shape.dims} dims, {stage.embedder.number_format}) stands "
        "for the workload's embedder; answers are extracted, no answering model runs",
    )
