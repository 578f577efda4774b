"""The page `docs/scale.md` and its figure, from a sample: every number of them comes from there."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.scale_model import HEDGE_AT, Outcome, Sample, Shape, simulate
from sextant.sights.scene import Anchor, Polyline, Scene, Text, Tone, line
from sextant.sights.svg import scene_svg

_COUNTS = (1, 4, 16, 50, 100, 200, 500, 1000)
_SAID = (100, 1000)
_ROOMY_S, _TIMES = 1.0, (0.8, 1.0, 1.1, 1.25)
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640.0, 360.0, 56.0, 150.0, 50.0, 44.0


def page(sample: Sample) -> str:
    """The page, as Markdown."""
    return "\n".join(
        (
            "# 100 and 1,000 shards",
            "",
            "This page is written by `python -m benchmarks.scale`. **Whatever it says of more than "
            f"{max(sample.fan_out)[0]} shards is simulated**, from what was measured on one "
            f"machine ({sample.machine}) on {sample.date} and is kept in `scale.json`.",
            "",
            "![Simulated time of a query by the number of shards](scale.svg)",
            "",
            *_measured(sample),
            *_simulated(sample),
            *_deadlines(sample),
            *_stopped(sample),
            *_caveats(),
        )
    )


def figure(sample: Sample) -> str:
    """The p50 and p99 of a query by the number of shards, as SVG."""
    kinds = {
        "one router": Shape(num_shards=1),
        "hedged": Shape(num_shards=1, hedged=True),
        "two levels, hedged": Shape(num_shards=1, hedged=True, levels=2),
    }
    curves = {
        name: [(count, _run(sample, shape, count)) for count in _COUNTS if _fits(shape, count)]
        for name, shape in kinds.items()
    }
    most_s = max(out.p99_s for curve in curves.values() for _, out in curve)

    def place(count: int, seconds: float) -> tuple[float, float]:
        x = _COUNTS.index(count) / (len(_COUNTS) - 1)
        return (
            _LEFT + x * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - seconds / most_s * (_HEIGHT - _TOP - _BOTTOM),
        )

    shapes: list[object] = [
        Text(
            x=_LEFT, y=20, text="Simulated: time of a query, p99 (dashed: p50)", size=14, bold=True
        ),
        *(_mark(place(count, 0.0), f"{count:,}") for count in _COUNTS),
        Text(x=_LEFT, y=_HEIGHT - 8, text="shards", size=11, tone=Tone.MUTED),
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = place(1, share * most_s)
        shapes.append(line(x, y, _WIDTH - _RIGHT, y, Tone.BAND))
        text = f"{share * most_s * 1e3:.1f} ms"
        shapes.append(Text(x=x - 6, y=y, text=text, size=11, tone=Tone.MUTED, anchor=Anchor.END))
    for (name, curve), tone in zip(
        curves.items(), (Tone.MUTED, Tone.ACCENT, Tone.INK), strict=True
    ):
        for of in ("p99_s", "p50_s"):
            points = tuple(place(count, getattr(out, of)) for count, out in curve)
            shapes.append(
                Polyline(points=points, stroke=tone, stroke_width=2.0, dashed=of == "p50_s")
            )
        count, last = curve[-1]
        x, y = place(count, last.p99_s)
        shapes.append(Text(x=x + 8, y=y, text=name, size=11, tone=tone))
    scene = Scene(
        width=_WIDTH,
        height=_HEIGHT,
        title="Simulated time of a query by the number of shards",
        desc="Simulated from latencies that were measured on one machine.",
        shapes=tuple(shapes),
    )
    return scene_svg(scene)


def _measured(sample: Sample) -> Iterable[str]:
    alone = {name: _of(sample, at) for name, at in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return (
        "## Measured",
        "",
        f"One shard of {sample.rows:,} vectors of {sample.dims} dimensions (a flat index), its "
        f"best {sample.k}, asked alone: p50 {_ms(alone['p50'])}, p95 {_ms(alone['p95'])}, p99 "
        f"{_ms(alone['p99'])}; its own search is {_ms(sample.search_p50_s)} of that. One more "
        f"member costs whoever asks {sample.member_s * 1e6:.0f} µs, its request and its answer "
        "together. "
        "Merging replies: " + ", ".join(f"{_ms(s)} for {n:,}" for n, s in sample.merge) + ".",
        "",
        "The simulation against what was measured with members that do nothing, p50:",
        "",
        "| members | measured | simulated |",
        "|---|---|---|",
        *(
            f"| {count} | {_ms(measured_s)} | {_ms(_idle(sample, count).p50_s)} |"
            for count, measured_s in sample.fan_out
        ),
        "",
    )


def _simulated(sample: Sample) -> Iterable[str]:
    rows = [
        (f"{count:,}, {name}", _run(sample, shape, count))
        for count in (1, 16, *_SAID)
        for name, shape in (
            ("one router", Shape(num_shards=1)),
            ("one router, hedged", Shape(num_shards=1, hedged=True)),
            ("two levels, hedged", Shape(num_shards=1, hedged=True, levels=2)),
        )
        if _fits(shape, count)
    ]
    return (
        "## Simulated: nothing fails",
        "",
        f"Every shard on a machine of its own. Hedged: two replicas; the second is asked at the "
        f"{HEDGE_AT:.0%} quantile. Two levels: the router asks about as many routers as the root "
        "of the number of shards, and each of these its share.",
        "",
        "| shards (simulated) | p50 | p99 | more requests |",
        "|---|---|---|---|",
        *(f"| {name} | {_ms(o.p50_s)} | {_ms(o.p99_s)} | {o.extra:.1%} |" for name, o in rows),
        "",
    )


def _deadlines(sample: Sample) -> Iterable[str]:
    lines = []
    for count in _SAID:
        base = _run(sample, Shape(num_shards=1), count).p50_s
        for share in _TIMES:
            out = simulate(sample, Shape(num_shards=count), base * share)
            hedged = simulate(sample, Shape(num_shards=count, hedged=True), base * share)
            lines.append(
                f"| {count:,} | {_ms(base * share)} | {out.coverage:.4f} | {hedged.coverage:.4f} |"
            )
    return (
        "## Simulated: deadlines",
        "",
        "One router; an answer holds what came by the deadline. Documents lie in shards by a hash, "
        "so its expected recall is the coverage, times the index's own.",
        "",
        "| shards (simulated) | deadline | coverage | hedged |",
        "|---|---|---|---|",
        *lines,
        "",
    )


def _stopped(sample: Sample) -> Iterable[str]:
    lines = []
    for count in _SAID:
        deadline_s = 2.0 * _run(sample, Shape(num_shards=1), count).p99_s
        for hedged in (False, True):
            out = simulate(sample, Shape(num_shards=count, hedged=hedged, stopped=1), deadline_s)
            name = "two, hedged" if hedged else "one"
            lines.append(
                f"| {count:,} | {name} | {_ms(deadline_s)} | {_ms(out.p50_s)} | {_ms(out.p99_s)} "
                f"| {out.coverage:.4f} |"
            )
    return (
        "## Simulated: one process stopped, and not yet noticed",
        "",
        "The deadline is twice the p99 of one router when nothing fails. Once the process is seen "
        "to be stopped nobody waits for it.",
        "",
        "| shards (simulated) | replicas | deadline | p50 | p99 | coverage |",
        "|---|---|---|---|---|---|",
        *lines,
        "",
    )


def _caveats() -> Iterable[str]:
    return (
        "## What this leaves out",
        "",
        "- Shards are drawn apart from one another. A switch, a deployment or a garbage collector "
        "that slows many at once makes the tail longer.",
        "- The machine's own loopback carried the messages. A network adds its round trip to every "
        "row, and its loss to the tail; many answers at once can overflow a switch's buffer.",
        "- The cost of a member was measured with the members on the same few cores as whoever "
        "asked, so it is too high rather than too low.",
        "- One query at a time: queueing in a shard under load is not in it.",
        "",
    )


def _run(sample: Sample, shape: Shape, count: int) -> Outcome:
    run = Shape(num_shards=count, hedged=shape.hedged, levels=shape.levels)
    return simulate(sample, run, _ROOMY_S)


def _fits(shape: Shape, count: int) -> bool:
    """Two levels are for many."""
    return shape.levels == 1 or count >= 16


def _idle(sample: Sample, count: int) -> Outcome:
    """Members that do nothing: what a shard takes alone, less its search, and nothing to merge."""
    idle = Sample(
        **{
            name: getattr(sample, name)
            for name in Sample.__slots__
            if name not in ("alone", "merge")
        },
        alone=tuple(max(0.0, one - sample.search_p50_s) for one in sample.alone),
        merge=((1, 0.0),),
    )
    return simulate(idle, Shape(num_shards=count), _ROOMY_S)


def _of(sample: Sample, at: float) -> float:
    return sample.alone[round(at * (len(sample.alone) - 1))]


def _mark(place: tuple[float, float], text: str) -> Text:
    x, y = place
    return Text(x=x, y=y + 16, text=text, size=11, tone=Tone.MUTED, anchor=Anchor.MIDDLE)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"
