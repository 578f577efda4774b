"""Chroma's server, its own HTTP spoken by the same clients as the rest."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clustered import DataSet, recall
from benchmarks.load import Job, drive, http_body
from benchmarks.peers import PYTHON, Peer

_BASE = "/api/v2/tenants/default_tenant/databases/default_database/collections"
_RECALL, _EFFORTS = 0.95, (32, 48, 64, 80, 100, 128, 160)
_BATCH, _START_S = 5_000, 60.0


def measure(folder: Path, data: DataSet, clients: int, seconds: float) -> Peer | None:
    """Chroma at the least effort that reaches the recall; None where it does not start."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    command = [str(PYTHON.parent / "chroma"), "run", "--path", str(folder / "chroma")]
    try:
        server = subprocess.Popen(
            [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        print(f"  Chroma left out: {error}", file=sys.stderr)
        return None
    try:
        return _measured(port, data, clients, seconds)
    except (OSError, AssertionError, KeyError, subprocess.SubprocessError) as error:
        print(f"  Chroma left out: {str(error)[-300:]}", file=sys.stderr)
        return None
    finally:
        server.terminate()
        server.wait(30)


def _measured(port: int, data: DataSet, clients: int, seconds: float) -> Peer:
    _await(port)
    found: tuple[float, float, float] = (0.0, 0.0, 0.0)
    collection = _filled(port, data)
    for effort in _EFFORTS:
        settings = {"new_configuration": {"hnsw": {"ef_search": effort}}}
        _call(port, "PUT", f"{_BASE}/{collection}", settings)
        requests = [_request(collection, query_D) for query_D in data.queries_QD]
        job = Job(
            port=port,
            protocol="http",
            hello=b"",
            requests=requests,
            clients=clients,
            seconds=seconds,
            keep=len(data.true_QK),
        )
        load = drive(job)
        answered = sorted(load.answers)
        rows_QK = np.array([_rows(load.answers[number]) for number in answered])
        reached = recall(rows_QK, data.true_QK[answered])
        found = reached, load.per_s, load.p99_s
        if reached >= _RECALL:
            break
    return Peer(name="Chroma", socket=True, recall=found[0], per_s=found[1], p99_s=found[2])


def _request(collection: str, query_D: np.ndarray[Any, Any]) -> bytes:
    asked = {"query_embeddings": [query_D.tolist()], "n_results": 10, "include": []}
    body = json.dumps(asked).encode()
    head = f"POST {_BASE}/{collection}/query HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _rows(answer: bytes) -> list[int]:
    return [int(one) for one in json.loads(http_body(answer))["ids"][0]]


def _await(port: int) -> None:
    end_s = time.monotonic() + _START_S
    while True:
        try:
            _call(port, "GET", "/api/v2/heartbeat", None)
            return
        except OSError:
            assert time.monotonic() < end_s, "it does not start"
            time.sleep(0.2)


def _filled(port: int, data: DataSet) -> str:
    """The collection with all vectors; what an earlier run has left is used."""
    hnsw = {"space": "ip", "max_neighbors": 32, "ef_construction": 80}
    name = f"vectors-{data.num}"
    asked = {"name": name, "get_or_create": True, "configuration": {"hnsw": hnsw}}
    collection: str = _call(port, "POST", _BASE, asked)["id"]
    vectors_ND = data.mapped()
    for start in range(_call(port, "GET", f"{_BASE}/{collection}/count", None), data.num, _BATCH):
        block_ND = vectors_ND[start : start + _BATCH]
        ids = [str(start + n) for n in range(len(block_ND))]
        added = {"ids": ids, "embeddings": block_ND.tolist()}
        _call(port, "POST", f"{_BASE}/{collection}/add", added)
    return collection


def _call(port: int, method: str, path: str, body: object) -> Any:
    with closing(HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    assert answer.status < 300, said[:500]
    return json.loads(said or b"null")
