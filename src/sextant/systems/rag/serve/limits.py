"""The bounds of the service: what a request may ask, how many may wait, how long it may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of one server; every one is finite.

    Attributes:
        body_bytes: a request's body.
        question_chars: a question.
        hits: passages that a request may ask for.
        deadline_s: a request's deadline where it names none.
        longest_deadline_s: the longest that it may name.
        at_once: questions that are worked on at the same time.
        waiting: questions that may wait for their turn; one more is refused.
        header_s: from a connection's first byte, or its opening, to the end of the headers.
        body_s: from the headers to the end of the body.
        send_s: for a client to take in what was sent.
        idle_s: an open connection without a request.
        connections: open at the same time.
        drain_s: for the questions that are under way when the server is told to stop.
        stop_s: the longest that the drill may stop a shard.
        documents: documents in one request that adds some.
        documents_bytes: the body of such a request.
    """

    body_bytes: int = 65_536
    question_chars: int = 4_000
    hits: int = 100
    deadline_s: float = 5.0
    longest_deadline_s: float = 60.0
    at_once: int = 16
    waiting: int = 16
    header_s: float = 10.0
    body_s: float = 10.0
    send_s: float = 20.0
    idle_s: float = 30.0
    connections: int = 512
    drain_s: float = 10.0
    stop_s: float = 30.0
    documents: int = 1_000
    documents_bytes: int = 16 << 20
