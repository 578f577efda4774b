"""The map's figure: one geometry, two backends."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import pytest
from sights_plans import ROWS, at

from sextant.axes import AXES, Axis
from sextant.sights.figure import is_rare, map_inline, map_png, map_svg
from sextant.sights.map_row import MapRow

SVG = "{http://www.w3.org/2000/svg}"


def discs(svg: str, tone: str) -> list[ET.Element]:
    root = ET.fromstring(svg)
    return [e for e in root.iter(f"{SVG}circle") if f"f-{tone}" in e.get("class", "").split()]


def test_every_spread_axis_is_a_filled_circle() -> None:
    svg = map_svg(ROWS[:4])
    spread = sum(len(row.coordinates.spread) for row in ROWS[:4])
    in_legend = 1
    assert len(discs(svg, "ink")) + len(discs(svg, "accent")) == spread + in_legend


def test_the_lone_intelligence_cell_stands_out_with_a_ring() -> None:
    svg = map_svg(ROWS[:4])
    assert len(discs(svg, "accent")) == 1
    rings = [e for e in ET.fromstring(svg).iter(f"{SVG}circle") if "s-accent" in e.get("class", "")]
    assert len(rings) == 1


def test_refused_is_a_third_mark() -> None:
    with_refusal, without = map_svg(ROWS), map_svg(ROWS[:4])
    assert with_refusal.count('class="f-paper s-ink"') == without.count('class="f-paper s-ink"') + 1


def test_counts_by_axis_and_by_row_are_written() -> None:
    words = [e.text for e in ET.fromstring(map_svg(ROWS[:4])).iter(f"{SVG}text")]
    for count in ("3/4", "2/4", "4/4", "1/4"):
        assert count in words
    assert [words.count(str(n)) for n in (4, 5, 3)] == [2, 1, 1]


def test_coordination_has_a_band_behind_every_row() -> None:
    root = ET.fromstring(map_svg(ROWS))
    bands = [e for e in root.iter(f"{SVG}rect") if e.get("class") == "f-band"]
    assert len(bands) == 1
    assert float(bands[0].get("height", "0")) > 38 * len(ROWS)


def test_rare_is_at_most_a_quarter_of_the_rows() -> None:
    assert is_rare(ROWS[:4], Axis.INTELLIGENCE)
    assert is_rare(ROWS, Axis.INTELLIGENCE)
    assert not is_rare(ROWS, Axis.COORDINATION)
    assert not is_rare(ROWS[:3], Axis.INTELLIGENCE)


@pytest.mark.parametrize(
    "title",
    [
        "<script>alert(1)</script>",
        '"><image href="x" onerror="y"/>',
        "a & b",
        "bell\x07 null\x00 lone\ud800",
        "w" * 4000,
        "",
        "new\nline",
        "‮right to left",
    ],
)
def test_hostile_titles_are_escaped_and_cut(title: str) -> None:
    rows = [MapRow(title=title, coordinates=at("dc"), ceiling=title)]
    for svg in (map_svg(rows, title), map_inline(rows, title)):
        root = ET.fromstring(svg)
        assert not [e for e in root.iter() if e.tag in (f"{SVG}script", f"{SVG}image")]
        assert max(len(e.text or "") for e in root.iter(f"{SVG}text")) < 60
        svg.encode("utf-8")
    assert map_png(rows).startswith(b"\x89PNG")


def test_the_figure_says_itself_in_words() -> None:
    root = ET.fromstring(map_svg(ROWS))
    desc = root.find(f"{SVG}desc")
    assert desc is not None
    assert "Federated imaging spreads training, coordination, refuses data" in (desc.text or "")
    assert root.get("role") == "img"


def test_dark_mode_and_print_are_in_the_style() -> None:
    svg = map_svg(ROWS)
    assert "@media screen and (prefers-color-scheme:dark)" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_a_highlighted_row_is_marked_only_if_it_is_there() -> None:
    assert "f-row" in map_svg(ROWS, "Drone swarm").split("</style>")[1]
    assert "f-row" not in map_svg(ROWS, "Nobody").split("</style>")[1]


def test_png_has_the_size_of_the_svg_and_both_themes() -> None:
    from PIL import Image

    root = ET.fromstring(map_svg(ROWS))
    light = Image.open(io.BytesIO(map_png(ROWS, scale=1)))
    dark = Image.open(io.BytesIO(map_png(ROWS, scale=1, dark=True)))
    assert light.size == (round(float(root.get("width", 0))), round(float(root.get("height", 0))))
    assert light.convert("L").getpixel((1, 1)) > 240
    assert dark.convert("L").getpixel((1, 1)) < 40


def test_print_in_grey_keeps_spread_whole_and_refused_apart() -> None:
    """Counts dark pixels of one cell in greyscale: full, ring, dot are far apart."""
    from PIL import Image

    from sextant.sights.figure import WIDE

    rows = [MapRow(title="x", coordinates=at("dc", "t"), ceiling="")]
    grey = Image.open(io.BytesIO(map_png(rows, scale=2))).convert("L")

    def darkness(axis: Axis) -> int:
        x, y, r = WIDE.x(axis) * 2, WIDE.y(0) * 2, WIDE.mark * 2 + 4
        cell = grey.crop((round(x - r), round(y - r), round(x + r), round(y + r)))
        return sum(cell.histogram()[:110])

    spread, refused, whole = (darkness(axis) for axis in AXES[:3])
    assert spread > 1.4 * refused > 4 * (whole + 20)


def test_a_map_of_nothing_is_drawn() -> None:
    assert ET.fromstring(map_svg([])).tag == f"{SVG}svg"
    assert map_png([]).startswith(b"\x89PNG")
