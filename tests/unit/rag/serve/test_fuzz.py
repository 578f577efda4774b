"""A thousand requests made from the interface's own description, right ones and wrong ones, against
the real service over a small corpus: each is answered as the description says.

`pytest --hypothesis-profile=wide` makes ten times as many.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from served import Serving, serving

from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.live import LiveService
from sextant.systems.rag.service import open_service

schemathesis = pytest.importorskip("schemathesis")
from schemathesis import checks  # noqa: E402
from schemathesis.generation import GenerationMode  # noqa: E402

EXAMPLES = {"/search": 170, "/ask": 250, "/drill/stop": 60, "/documents": 20}
"""Requests a route, as many again of wrong ones; 1,000 in all."""
WIDE = 10
REFUSALS = {400, 401, 403, 408, 409, 413, 422, 429, 503, 504}
"""503 and 504 are for a deadline that no shard can keep; there is no 500 among them."""
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture
def server(tmp_path: Path, embedder: Any) -> Iterator[Serving]:
    words = ("tides", "comets", "yeast", "violins", "glaciers")
    records = [
        {"_id": f"d{n}", "title": words[n % 5], "text": f"Of {words[n % 5]} and number {n}."}
        for n in range(20)
    ]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("\n".join(map(json.dumps, records)))
    build_index(open_corpus(str(corpus)), tmp_path / "index", embedder, num_shards=2)
    service = open_service(tmp_path / "index", embedder=embedder)
    with (
        LiveService(tmp_path / "index", service, watch_s=0.01) as live,
        serving(live, index_dir=tmp_path / "index") as found,
    ):
        yield found


def examples_of(path: str) -> int:
    wide = settings.get_current_profile_name() == "wide"
    return EXAMPLES[path] * (WIDE if wide else 1)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", EXAMPLES)
def test_every_request_is_answered_as_described(
    server: Serving, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operation = schema[path]["POST"]
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=examples_of(path),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(base_url=server.url, timeout=20)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)
        if response.status_code == 200:
            assert mode is GenerationMode.POSITIVE, "a wrong request was taken"
            return
        assert response.status_code in REFUSALS
        problem = response.json()
        assert problem["error"]
        assert {"where", "hint"} <= set(problem)
        assert "Traceback" not in response.text

    ask()
    assert sum(statuses.values()) >= examples_of(path)
    assert '"event": "bug"' not in server.log.getvalue()
    assert server.get("/ready").status == 200


def test_the_numbers_are_a_thousand() -> None:
    assert 2 * sum(EXAMPLES.values()) == 1_000
