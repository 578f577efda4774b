"""A whole training: a checkpoint of any layout goes on under any other, nothing lost or twice."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")
sys.path.insert(0, str(Path(__file__).parent))

from pool import Pool
from training_worker import Run

from sextant.decoder import open_generator
from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.decoder.shards import named_parameters
from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline, Fleet
from sextant.systems.pretraining import checkpoint, record
from sextant.systems.pretraining.job import RECORD_FILE, Job, Recipe
from sextant.systems.pretraining.on_fleet import launch_on
from sextant.systems.pretraining.prepare import Wish, prepare
from sextant.systems.pretraining.saved import evaluate, export, open_saved
from sextant.systems.pretraining.text import Source
from sextant.systems.pretraining.tokens import Tokens

STEPS, HALF, BATCH = 12, 6, 8
MODEL = DecoderConfig(
    vocab=320, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=64, context=32
)
SENTENCE = "The {} of number {} walked {} miles to see the {} and came back before dark.\n"
WORDS = ("baker", "queen", "sailor", "dog", "engineer")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    lines = [SENTENCE.format(WORDS[n % 5], n, n * 7 % 100, WORDS[n * 3 % 5]) for n in range(3000)]
    (folder / "text.txt").write_text("".join(lines))
    wish = Wish(sources=(Source(path=folder / "text.txt"),), num_ids=320, held_fraction=0.2)
    prepare(wish, folder / "tokens", lambda _done, _all: None)
    return folder / "tokens"


@pytest.fixture
def job(data: Path, tmp_path: Path) -> Job:
    made = Job(
        model=MODEL,
        data=data,
        out=tmp_path / "run",
        steps=STEPS,
        batch=BATCH,
        sequence=32,
        micro_batch=4,
        recipe=Recipe(learning_rate=3e-3, warmup_steps=3),
        checkpoint_steps=HALF,
        eval_steps=HALF,
        eval_windows=16,
    )
    made.write()
    return made


def train(
    pool: Pool, job: Job, layout: str, *, how: str = "train", more: tuple[int, ...] = ()
) -> tuple[dict[str, np.ndarray], list[int]]:
    """The final weights, and the samples of all ranks."""
    ranks = Degrees.parse(layout).ranks
    runs: list[Run] = pool.call(f"training_worker:{how}", ranks, str(job.out), layout, *more)
    weights: dict[str, np.ndarray] = {}
    for run in runs:
        weights |= run.weights
    return weights, sorted(number for run in runs for number in run.samples)


def halfway(job: Job, to: Path) -> Job:
    """A copy of the run as it was after its first checkpoint."""
    other = replace(job, out=to)
    other.write()
    name = checkpoint.name_of(HALF)
    shutil.copytree(job.out / checkpoint.FOLDER / name, to / checkpoint.FOLDER / name)
    return other


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], atol: float) -> None:
    assert set(ours) == set(theirs)
    for name, weight in ours.items():
        np.testing.assert_allclose(weight, theirs[name], rtol=0, atol=atol, err_msg=name)


def test_a_run_goes_on_under_any_layout(pool: Pool, job: Job, tmp_path: Path) -> None:
    begun = "fsdp=2,tp=2"
    whole, drawn = train(pool, job, begun)
    assert drawn == list(range(STEPS * BATCH))
    losses = [event["loss"] for _, event in sorted(record.steps(job.out / RECORD_FILE).items())]
    assert losses[-1] < 0.9 * losses[0]
    for layout in (begun, "1", "dp=2", "pp=2"):
        other = halfway(job, tmp_path / f"from-{layout}")
        weights, again = train(pool, other, layout)
        # The first half drew what comes before: together each sample once, none left out.
        assert again == list(range(HALF * BATCH, STEPS * BATCH))
        assert_same(weights, whole, atol=0.0 if layout == begun else 1e-4)


def test_held_text_scores_the_same_under_any_layout(pool: Pool, job: Job, tmp_path: Path) -> None:
    scores = []
    for layout in ("1", "pp=2,tp=2", "dp=2"):
        other = replace(job, out=tmp_path / layout)
        other.write()
        train(pool, other, layout)
        scores.append([e["bits_per_byte"] for e in record.read(other.out / RECORD_FILE, "held")])
    assert len(scores[0]) == 2
    assert scores[0][1] < scores[0][0]
    assert scores[1] == pytest.approx(scores[0], rel=1e-5)
    assert scores[2] == pytest.approx(scores[0], rel=1e-5)


def test_a_damaged_checkpoint_is_passed_over(pool: Pool, job: Job, tmp_path: Path) -> None:
    whole, _ = train(pool, job, "1")
    other = halfway(job, tmp_path / "other")
    newest = other.out / checkpoint.FOLDER / checkpoint.name_of(HALF + 2)
    shutil.copytree(other.out / checkpoint.FOLDER / checkpoint.name_of(HALF), newest)
    victim = next(newest.glob("*.distcp"))
    damaged = bytearray(victim.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    victim.write_bytes(damaged)
    (other.out / checkpoint.FOLDER / "step-00000009.building").mkdir()
    saved = open_saved(other.out)
    assert saved.step == HALF
    assert "corrupt" in saved.troubles[0]
    weights, _ = train(pool, other, "1")
    assert_same(weights, whole, atol=0.0)
    (trouble,) = record.read(other.out / RECORD_FILE, "trouble")
    assert "corrupt" in trouble["what"]
    assert not list((other.out / checkpoint.FOLDER).glob("*.building"))
    for left in checkpoint.found(other.out):
        (left / ".metadata").write_bytes(b"")
    with pytest.raises(InputError, match="no checkpoint is whole"):
        train(pool, other, "1")


def test_a_checkpoint_of_another_training_is_refused(pool: Pool, job: Job, tmp_path: Path) -> None:
    train(pool, job, "1")
    other = halfway(job, tmp_path / "other")
    replace(other, model=replace(MODEL, ffn=96)).write()
    with pytest.raises(InputError, match="another training"):
        train(pool, other, "dp=2")


def test_a_loss_that_is_not_finite_ends_the_run_unlearned(pool: Pool, job: Job) -> None:
    replace(job, recipe=replace(job.recipe, learning_rate=1e30, warmup_steps=1)).write()
    with pytest.raises(EngineError, match="no finite gradient for 5 steps"):
        train(pool, job, "1")
    refused = [e for e in record.read(job.out / RECORD_FILE, "step") if not e["applied"]]
    assert len(refused) == 5


def test_a_flaw_of_a_moment_changes_no_bit(pool: Pool, job: Job, tmp_path: Path) -> None:
    """The step is taken once more; nor do experts count its tokens twice."""
    experts = replace(MODEL, experts=4, active_experts=2, expert_ffn=32)
    weights = []
    for name, how, more in (("plain", "train", ()), ("flawed", "train_with_a_flaw", (3,))):
        one = replace(job, out=tmp_path / name, model=experts)
        one.write()
        weights.append(train(pool, one, "dp=2", how=how, more=more)[0])
    assert_same(weights[1], weights[0], atol=0.0)
    taken = list(record.read(tmp_path / "flawed" / RECORD_FILE, "step"))
    assert all(event["applied"] for event in taken)
    (trouble,) = record.read(tmp_path / "flawed" / RECORD_FILE, "trouble")
    assert "step 3" in trouble["what"]


def test_from_text_to_an_answerer(pool: Pool, job: Job, tmp_path: Path) -> None:
    """The chain: prepare, train split in two, export, and the decoder writes on with it."""
    train(pool, job, "tp=2")
    saved = open_saved(job.out)
    assert saved.step == STEPS
    export(saved, tmp_path / "model")
    with open_generator(tmp_path / "model") as generator:
        (one,) = generator.generate(
            ["The baker of number"], max_new_tokens=8, deadline=Deadline.after(60)
        )
    assert len(one.tokens) == 8
    transformers = pytest.importorskip("transformers")
    import torch

    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    ids = torch.from_numpy(Tokens.open(job.data).stream(saved_part(job)).window(0, 32))[None]
    with torch.no_grad():
        far = (theirs(ids).logits - saved.model(ids)).abs().max()
    assert float(far) < 1e-4


@pytest.mark.soak
def test_a_fleet_trains_the_same(pool: Pool, job: Job, tmp_path: Path) -> None:
    for engine in ("zenoh", "msgpack", "psutil"):
        if find_spec(engine) is None:
            pytest.skip(f"{engine} is not installed")
    plain = replace(job, out=tmp_path / "plain")
    plain.write()
    whole, _ = train(pool, plain, "dp=2")
    spread = replace(job, layout=Degrees(dp=2), stall_s=20.0, threads=1)
    spread.write()
    with Fleet.start(cpus=2) as fleet:
        launch_on(fleet, spread, tick=lambda: None)
    saved = open_saved(job.out)
    for name, weight in named_parameters(saved.model):
        np.testing.assert_array_equal(weight.detach().numpy(), whole[name], err_msg=name)


def test_text_is_scored_by_its_bytes(pool: Pool, job: Job, tmp_path: Path) -> None:
    train(pool, job, "1")
    saved = open_saved(job.out / checkpoint.FOLDER / checkpoint.name_of(HALF))
    assert saved.step == HALF
    path = tmp_path / "held.txt"
    path.write_text(SENTENCE.format("queen", 5, 9, "dog") * 30)
    found = evaluate(saved, [path])
    assert found.bytes == path.stat().st_size
    bits = found.loss_per_token * found.tokens / np.log(2)
    assert found.bits_per_byte == pytest.approx(bits / found.bytes)
    later = evaluate(open_saved(job.out), [path])
    assert later.bits_per_byte < found.bits_per_byte


def saved_part(job: Job):  # type: ignore[no-untyped-def]
    """The part that is trained on."""
    return next(part for part in Tokens.open(job.data).card.parts if part.split == "train")
