"""Twelve rehearsals of different specs: are intervals of 80% right, and every sight within 15%?

The specs differ in what their plans say (1, 2 or 8 shards, 5 to 50 passages a question) and in what
they are rehearsed on: three corpora, 300 to 1,500 passages. Each takes about a minute, and as long
again the first time, when its index is built.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Figure, needs
from benchmarks.rehearsal import rehearsed
from sextant.sights.record import Sight

_OFF, _INSIDE, _WIDTH = 0.15, (0.65, 0.95), 1.6
_STDLIB = "stdlib"


@dataclass(frozen=True, slots=True)
class Spec:
    """What is planned, and on what it is rehearsed."""

    vectors: str
    dims: int
    requests_per_s: int
    k: int
    corpus: str
    passages: int

    def text(self) -> str:
        """The spec as TOML."""
        return (
            f'name = "rehearsed"\ndoes = "answers from {self.vectors} passages"\n'
            f'[index]\nvectors = "{self.vectors}"\ndims = {self.dims}\nk = {self.k}\n'
            f'[serving]\nrequests_per_s = {self.requests_per_s}\ndeadline = "1 s"\n'
            '[fleet]\nmachine = "cpu-server"\n'
        )


SPECS = (
    Spec("10 billion", 768, 100, 10, _STDLIB, 1500),
    Spec("1 billion", 768, 100, 5, _STDLIB, 600),
    Spec("1 billion", 768, 10, 20, _STDLIB, 1000),
    Spec("3 billion", 384, 100, 10, "scifact", 900),
    Spec("1 billion", 384, 100, 50, "scifact", 500),
    Spec("900 million", 768, 1000, 10, "cranfield", 700),
    Spec("200 million", 1536, 20000, 10, _STDLIB, 600),
    Spec("200 million", 1536, 20000, 20, "cranfield", 400),
    Spec("100 million", 384, 100, 10, _STDLIB, 800),
    Spec("20 million", 384, 10, 5, "scifact", 600),
    Spec("10 million", 768, 100, 20, "cranfield", 300),
    Spec("200 million", 768, 100, 10, _STDLIB, 1200),
)


def run() -> list[Figure]:
    """One figure a quantity over all rehearsals, and two of the intervals."""
    return figures([sight for spec in SPECS for sight in sights(spec)])


def sights(spec: Spec) -> tuple[Sight, ...]:
    """Rehearses one spec; what was predicted of it beside what was measured."""
    corpus = spec.corpus if spec.corpus == _STDLIB else str(needs(spec.corpus))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "spec.toml"
        path.write_text(spec.text(), encoding="utf-8")
        seen = rehearsed(str(path), corpus=corpus, passages=spec.passages)
    off = ", ".join(f"{one.quantity} {one.ratio:.2f}" for one in seen.sights)
    print(f"  {spec.corpus}, {spec.passages}, k {spec.k}, {seen.fleet}: {off}", flush=True)
    return seen.sights


def figures(found: Sequence[Sight]) -> list[Figure]:
    """What many sights of several rehearsals come to."""
    inside = statistics.mean(_is_inside(one) for one in found)
    widths = [one.high / one.low for one in found if one.low > 0]
    return [
        *(_figure(name, _of(name, found)) for name in dict.fromkeys(s.quantity for s in found)),
        Figure(
            name="share of sights in their 80% intervals",
            measured=inside,
            unit="",
            bar=f"{_INSIDE[0]:g} to {_INSIDE[1]:g}",
            held=_INSIDE[0] <= inside <= _INSIDE[1],
        ),
        Figure(
            name="high over low, median",
            measured=statistics.median(widths),
            unit="",
            bar=f"<= {_WIDTH:g}",
            held=statistics.median(widths) <= _WIDTH,
        ),
    ]


def _figure(name: str, found: Sequence[Sight]) -> Figure:
    ratios = sorted(one.ratio for one in found)
    return Figure(
        name=f"{name}, measured over predicted, median",
        measured=statistics.median(ratios),
        unit="",
        bar=f"every one within {_OFF:.0%}",
        held=all(abs(ratio - 1.0) <= _OFF for ratio in ratios),
        beside={
            "least": ratios[0],
            "most": ratios[-1],
            "in its interval": statistics.mean(map(_is_inside, found)),
        },
    )


def _of(name: str, found: Iterable[Sight]) -> list[Sight]:
    return [one for one in found if one.quantity == name]


def _is_inside(one: Sight) -> bool:
    """Whether the measured lies in the interval, whose ends may be rounded otherwise."""
    near = any(math.isclose(one.measured, end, rel_tol=1e-9) for end in (one.low, one.high))
    return near or one.low <= one.measured <= one.high
