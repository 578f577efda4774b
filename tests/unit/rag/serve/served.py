"""A service of a few lines behind the real server, for the tests of the HTTP interface."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sextant.fleet import Answer
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.serve.door import Rules
from sextant.systems.rag.serve.front import Front
from sextant.systems.rag.serve.journal import Journal
from sextant.systems.rag.serve.limits import Limits
from sextant.systems.rag.serve.server import bind
from sextant.systems.rag.serve.tokens import Tokens
from sextant.systems.rag.service import Result, Watch

TEXT = "Tides follow the moon. A spring tide comes twice a month. Nobody knows why it is so wet."
CITED = (TEXT[:22], TEXT[23:57])


def passage(doc: str = "d1", text: str = TEXT, start: int = 0) -> Passage:
    """A passage of a document."""
    return Passage(
        doc=doc, title=f"On {doc}", start=start, end=start + len(text), text=text, score=0.5
    )


def result(query: str = "q", **changes: Any) -> Result:
    """What a service with two shards would answer."""
    cited = tuple(passage(text=text, start=TEXT.index(text)) for text in CITED)
    values: dict[str, Any] = {
        "query": query,
        "answer": " ".join(CITED),
        "note": "",
        "citations": cited,
        "hits": (passage(), passage("d2", "Something else.")),
        "coverage": 1.0,
        "expected_recall": 1.0,
        "missing": (),
        "timing": {"embed_s": 0.01, "fan_out_s": 0.02, "other_s": 0.001, "total_s": 0.031},
        "deadline_s": 5.0,
        "shards": (
            Answer(member="shard/0", body=b"", wire_s=0, queue_s=0, handle_s=0.02, total_s=0.02),
        ),
    }
    return Result(**{**values, **changes})


@dataclass
class StubService:
    """Answers what it is told to, after `waits` let it, and remembers what it was asked."""

    waits: Callable[[], object] = lambda: None
    error: BaseException | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    manifest: Any = field(
        default_factory=lambda: SimpleNamespace(
            generation="g1",
            documents=2,
            vectors=2,
            shards=(
                SimpleNamespace(name="shard/0", documents=1, vectors=1),
                SimpleNamespace(name="shard/1", documents=1, vectors=1),
            ),
        )
    )
    gang: Any = field(default_factory=lambda: SimpleNamespace(refused={}))

    def search(self, question: str, **how: Any) -> Result:
        return self._answer(question, how, None)

    def ask(self, question: str, *, watch: Watch | None, **how: Any) -> Result:
        return self._answer(question, how, watch)

    def _answer(self, question: str, how: dict[str, Any], watch: Watch | None) -> Result:
        self.asked.append({"question": question, **how})
        found = result(question, **self.changes)
        if watch is not None:
            watch(result(question, **{**self.changes, "answer": None, "citations": ()}))
        self.waits()
        if self.error is not None:
            raise self.error
        if watch is not None:
            watch(found)
            return found
        return result(question, **{**self.changes, "answer": None, "citations": ()})


@dataclass(frozen=True)
class Told:
    """An answer of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self, status: int) -> dict[str, Any]:
        """The problem that it is, its form checked."""
        assert self.status == status, self
        told = self.json
        assert {"error", "where", "hint"} <= set(told), told
        assert isinstance(told["error"], str)
        assert told["error"]
        assert "Traceback" not in self.body.decode()
        assert 'File "' not in self.body.decode()
        return dict(told)

    def events(self) -> list[tuple[str, Any]]:
        """The events of a stream."""
        found = []
        for block in self.body.decode().split("\n\n")[:-1]:
            name, data = block.split("\n")
            assert name.startswith("event: ")
            found.append((name[7:], json.loads(data.removeprefix("data: "))))
        return found


class Serving:
    """A server in a thread of this process."""

    def __init__(self, service: Any, rules: Rules, questions: bool) -> None:
        self.log = StringIO()
        listener = bind("127.0.0.1", 0)
        self.port: int = listener.getsockname()[1]
        self.front = Front(service, rules, listener, Journal(self.log, questions=questions))
        self.desk = self.front.desk
        self.server = self.front.server
        self.url = self.front.url

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> Told:
        """One request on a connection of its own; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            kind = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, {**kind, **(headers or {})})
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Told(answer.status, told, answer.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **how: Any) -> Told:
        return self.call("POST", path, body, **how)

    def get(self, path: str, **how: Any) -> Told:
        return self.call("GET", path, **how)


@contextmanager
def serving(
    service: Any | None = None,
    *,
    tokens: Tokens | None = None,
    loopback: bool = True,
    questions: bool = False,
    index_dir: Path | None = None,
    **limits: Any,
) -> Iterator[Serving]:
    """The server over a service, until the block ends."""
    rules = Rules(limits=Limits(**limits), tokens=tokens, loopback=loopback, index_dir=index_dir)
    server = Serving(service or StubService(), rules, questions)
    server.front.start()
    try:
        yield server
    finally:
        server.front.stop()
        assert not server.front._thread.is_alive()


def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Waits until something holds."""
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "it did not come to hold"
        time.sleep(0.002)
