"""What Prometheus reads: requests, stages, coverage, what is under way and what was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from sextant.systems.rag.service import Result

__all__ = ["CONTENT_TYPE_LATEST", "Measures"]

_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15),
    *(0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


class Measures:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sextant_requests",
            "Requests answered, by route and status.",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "sextant_request_seconds",
            "From the request's headers to the last byte of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "sextant_stage_seconds",
            "What each stage of a question took.",
            ("stage",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._coverage = Histogram(
            "sextant_coverage",
            "The share of the documents that a question could search.",
            buckets=_SHARES,
            registry=self._registry,
        )
        self._refused = Counter(
            "sextant_refused", "Requests refused, by why.", ("why",), registry=self._registry
        )
        self._missing = Counter(
            "sextant_missing", "Answers without a shard.", ("shard",), registry=self._registry
        )
        self._abandoned = Counter(
            "sextant_abandoned", "Questions whose asker went away.", registry=self._registry
        )

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Adds a gauge that is read when somebody asks for it."""
        Gauge(f"sextant_{name}", what, registry=self._registry).set_function(value)

    def watch_shards(self, states: Callable[[], dict[str, int]], known: tuple[str, ...]) -> None:
        """Adds a gauge of the shards in each state."""
        gauge = Gauge(
            "sextant_shards", "Members of the gang by state.", ("state",), registry=self._registry
        )
        for state in known:
            gauge.labels(state).set_function(partial(_count, states, state))

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts a request that was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def result(self, result: Result, queue_s: float) -> None:
        """Counts a question's stages and coverage."""
        self._stages.labels("queue").observe(queue_s)
        for stage, seconds in result.timing.items():
            self._stages.labels(stage.removesuffix("_s")).observe(seconds)
        self._coverage.observe(result.coverage)
        for missing in result.missing:
            self._missing.labels(missing.member).inc()

    def refused(self, why: str) -> None:
        """Counts a refusal."""
        self._refused.labels(why).inc()

    def abandoned(self) -> None:
        """Counts a question that nobody waited for."""
        self._abandoned.inc()

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)


def _count(states: Callable[[], Mapping[str, int]], state: str) -> float:
    return states().get(state, 0)
