"""What a person gets wrong: a clear error, exit code 2, and nothing overwritten."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")

from sextant.cli import main
from sextant.cli.pretrain_resume import changed, check_resumed
from sextant.cli.pretrain_train import add_train
from sextant.decoder.config import DecoderConfig
from sextant.errors import InputError
from sextant.systems.pretraining import checkpoint
from sextant.systems.pretraining.islands.serve import launch_islands
from sextant.systems.pretraining.islands.terms import Terms
from sextant.systems.pretraining.job import JOB_FILE, Job
from sextant.systems.pretraining.launch import alone

MODEL = """[model]
vocab = 320
hidden = 32
layers = 3
heads = 4
ffn = 64
sequence = 32
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text.txt").write_text("".join(f"line {n} of {n * n}\n" for n in range(3000)))
    (folder / "model.toml").write_text(MODEL)
    words = ["pretrain", "prepare", "--text", str(folder / "text.txt"), "--vocab", "300"]
    assert main([*words, "--out", str(folder / "tokens"), "--json"]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, so that nothing overwritten can be asserted."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must be refused; gives what it says."""

    def run(*words: object) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert "Traceback" not in told.err
        assert told.err.startswith("error:")
        return told.err

    return run


def train(data: Path, out: Path, *more: object) -> list[object]:
    model = data / "model.toml"
    base = ["pretrain", "train", "--data", data / "tokens", "--model", model, "--out", out]
    return [*base, "--batch", "4", "--steps", "2", *more]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no text"),
        (b"\x00\x01\x02\xff" * 500, "a binary file, not text"),
        (b"   \n \n", "no text"),
    ],
)
def test_a_corpus_without_text(
    refused: Refused, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "corpus.txt").write_bytes(content)
    told = refused(
        "pretrain", "prepare", "--text", tmp_path / "corpus.txt", "--out", tmp_path / "tokens"
    )
    assert message in told
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--layout", "tp=3"), "3 does not divide"),
        (("--layout", "pp=4"), "4 does not divide 3 layers"),
        (("--layout", "dp=3"), "3 does not divide a batch of 4"),
        (("--layout", "ep=2"), "no experts"),
        (("--layout", "dp=x"), "not a layout"),
        (("--sequence", "64"), "context"),
        (("--layout", "pp=3,dp=2"), "2 micro-batches do not fill 3 stages"),
        (("--learning-rate", "nan"), "--learning-rate"),
        (("--learning-rate", "-1"), "--learning-rate"),
        (("--warmup", "-1"), "--warmup"),
        (("--steps", "0"), "at least 1"),
        (("--sequence", "0"), "at least 1"),
        (("--batch", "0"), "at least 1"),
        (("--islands", "2", "--island", "0"), "go together"),
        (("--islands", "2", "--harbour", "nowhere", "--island", "0"), "not an address"),
        (("--islands", "2", "--quantize", "5"), "one of"),
        (("--stall", "nan"), "nan seconds"),
        (("--elastic", "-3"), "at least 1 rank"),
    ],
)
def test_a_job_that_cannot_be(
    refused: Refused, data: Path, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    assert message in refused(*train(data, tmp_path / "run", *flags))
    assert not (tmp_path / "run").exists()


def test_a_layout_that_does_not_divide_names_one_that_does(
    refused: Refused, data: Path, tmp_path: Path
) -> None:
    assert "hint: 2 does" in refused(*train(data, tmp_path / "run", "--layout", "tp=3"))


def test_a_training_that_is_there_is_not_overwritten(
    refused: Refused, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / JOB_FILE).write_text("{}")
    before = contents(out)
    assert "a training is here already" in refused(*train(data, out))
    assert contents(out) == before
    words = ("pretrain", "train", "--out", out, "--resume")
    assert "damaged" in refused(*words)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--launch", "fleet", "--islands", "2"), "islands take --launch python"),
        (("--listen", "127.0.0.1:7070"), "how many islands meet here?"),
        (("--listen", "0.0.0.0:7070", "--islands", "2"), "whoever can reach it"),
        (("--listen", "nowhere", "--islands", "2"), "--listen: not an address"),
    ],
)
def test_who_cannot_start_it_writes_nothing(
    refused: Refused, data: Path, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    assert message in refused(*train(data, tmp_path / "run", *flags))
    assert not (tmp_path / "run").exists()


def test_a_run_at_work_is_left_as_it_is(refused: Refused, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    job = Job(
        model=DecoderConfig(
            vocab=320, hidden=32, layers=2, heads=4, kv_heads=4, head_dim=8, ffn=64, context=32
        ),
        data=data / "tokens",
        out=out,
        steps=2,
        batch=4,
        sequence=32,
    )
    job.write()
    with alone(out):
        before = contents(out)
        words = ("pretrain", "train", "--out", out, "--resume", "--steps", "9")
        assert "another run is at work here" in refused(*words)
        with pytest.raises(InputError, match="another run is at work here"):
            launch_islands(replace(job, outer=Terms(islands=2, inner_steps=1)))
        assert contents(out) == before


def test_a_run_whose_folder_is_a_file(refused: Refused, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.write_text("mine")
    told = refused("pretrain", "train", "--data", data / "tokens", "--out", out, "--steps", "1")
    assert "no folder for a run" in told
    assert "only for --launch fleet" in refused(
        "pretrain", "train", "--data", data / "tokens", "--out", tmp_path / "other", "--fleet", "x"
    )
    assert out.read_text() == "mine"


def test_a_resume_of_nothing_or_into_another_model(refused: Refused, tmp_path: Path) -> None:
    words = ("pretrain", "train", "--out", tmp_path / "none", "--resume")
    assert "no training here" in refused(*words)
    assert not (tmp_path / "none").exists()
    flags = ("--model", "10m", "--batch", "32", "--learning-rate", "0.001", "--outer-rate", "1")
    told = refused(*words, *flags)
    assert "--model, --batch, --learning-rate, --outer-rate: cannot change when resuming" in told


def test_a_resume_takes_what_may_change(tmp_path: Path) -> None:
    commands = ArgumentParser()
    add_train(commands.add_subparsers())
    sizes = DecoderConfig(
        vocab=320, hidden=32, layers=1, heads=4, kv_heads=4, head_dim=8, ffn=64, context=32
    )
    job = Job(model=sizes, data=tmp_path, out=tmp_path, steps=2, batch=4, sequence=32)

    def resumed(of: Job, *flags: str) -> Job:
        args = commands.parse_args(["train", "--out", "run", "--resume", *flags])
        check_resumed(args)
        return changed(of, args)

    assert resumed(job) == job
    flags = ("--steps", "9", "--keep", "1", "--stall", "5", "--eval-steps", "0", "--compile")
    asked = {"steps": 9, "keep": 1, "stall_s": 5.0, "eval_steps": 0, "compile": True}
    assert resumed(job, *flags) == replace(job, **asked)
    with pytest.raises(InputError, match="meets at none"):
        resumed(job, "--harbour", "10.0.0.1:70")
    met = replace(job, outer=Terms(islands=2, inner_steps=1, harbour="10.0.0.1:70", island=1))
    moved = resumed(met, "--harbour", "10.0.0.2:80").outer
    assert moved is not None
    assert (moved.harbour, moved.island) == ("10.0.0.2:80", 1)
    with pytest.raises(InputError, match="not an address"):
        resumed(met, "--harbour", "nowhere")


def test_a_model_smaller_than_its_tokenizer(refused: Refused, data: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.toml"
    small.write_text(MODEL.replace("320", "100"))
    told = refused(*train(data, tmp_path / "run", "--model", small))
    assert "the tokens are of 300 ids, the model knows 100" in told
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_is_torn_corrupt_or_of_another_kind(
    refused: Refused, data: Path, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    from sextant.decoder.config import read_toml

    job = Job(
        model=read_toml(data / "model.toml"),
        data=data / "tokens",
        out=tmp_path / "run",
        steps=2,
        batch=4,
        sequence=32,
    )
    job.write()
    export = ("pretrain", "export", "--checkpoint", job.out, "--out", tmp_path / "model")
    assert "no checkpoint yet" in refused(*export)
    writer = checkpoint.Writer(job.out, identity="other", layout="1", keep=2, distributed=False)
    writer.save({"weight": torch.zeros(8)}, step=1, updates=1, wait=True)
    assert "not a checkpoint of this model" in refused(*export)
    (folder,) = checkpoint.found(job.out)
    victim = next(folder.glob("*.distcp"))
    victim.write_bytes(victim.read_bytes()[:-1])
    before = contents(job.out)
    assert "torn" in refused(*export)
    card = folder / checkpoint.CARD
    card.write_text(json.dumps({"format": "another/9"}))
    assert "no checkpoint is whole" in refused(*export)
    card.write_text(before[str(card.relative_to(job.out))].decode())
    assert contents(job.out) == before
    assert not (tmp_path / "model").exists()
    with pytest.raises(Exception, match="at least 1"):
        replace(job, keep=0)


def test_a_corrupt_shard_is_named(refused: Refused, data: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(data / "tokens", copy / "tokens")
    shutil.copy(data / "model.toml", copy)
    victim = next((copy / "tokens").glob("*.bin"))
    damaged = bytearray(victim.read_bytes())
    damaged[0] ^= 1
    victim.write_bytes(damaged)
    from sextant.systems.pretraining.tokens import Tokens

    with pytest.raises(InputError, match=r"corrupt|checksum"):
        Tokens.open(copy / "tokens", verify=True)
    words = ("pretrain", "prepare", "--text", data / "text.txt", "--out", copy / "tokens")
    before = contents(copy)
    assert refused(*words)
    assert contents(copy) == before
    # Its ranks find it out; the folder is then free for a training on whole data.
    assert victim.name in refused(*train(copy, tmp_path / "run"))
    assert not (tmp_path / "run" / "job.json").exists()
