"""How much type fits on one sheet: blocks that know their height, and the size that they allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sextant.sights.markup import Html, div, join

# A4 is narrower and Letter is shorter: both hold this much inside margins of 10 and 8 mm, less a
# slack for system fonts that are wider than the estimate.
WIDTH_MM = 190.0
HEIGHT_MM = 253.0
MM_PER_PT = 0.352778
CHARACTER_EM = 0.51
LARGEST_PT = 8.6
SMALLEST_PT = 5.6


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """A text that wraps: its length, its share of the block's width, its size and leading."""

    length: int
    share: float = 1.0
    rem: float = 1.0
    leading: float = 1.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A piece of a page: its HTML, the texts that wrap in it, and its fixed height in rem."""

    html: Html
    flows: tuple[Flow, ...] = ()
    rem: float = 0.0
    figure: tuple[float, float] = (0.0, 0.0)
    """A drawing as wide as the block, but at most so many rem; and its height over its width."""

    def height_mm(self, width_mm: float, size_pt: float) -> float:
        """The estimated height at a width and a size of type."""
        rem_mm = size_pt * MM_PER_PT
        height = self.rem * rem_mm + min(width_mm, self.figure[0] * rem_mm) * self.figure[1]
        for flow in self.flows:
            per_line = width_mm * flow.share / (CHARACTER_EM * flow.rem * rem_mm)
            lines = max(1, math.ceil(flow.length * 1.04 / max(per_line, 1.0)))
            height += lines * flow.leading * flow.rem * rem_mm
        return height


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """Blocks under each other in a share of the sheet's width."""

    share: float
    blocks: tuple[Block, ...]

    def height_mm(self, size_pt: float) -> float:
        """The estimated height at a size of type."""
        gap_mm = 2.4 * size_pt * MM_PER_PT
        width_mm = WIDTH_MM * self.share - gap_mm
        return sum(block.height_mm(width_mm, size_pt) for block in self.blocks)


Row = tuple[Column, ...]


def whole(*blocks: Block) -> Row:
    """A row of one column."""
    return (Column(share=1.0, blocks=blocks),)


def fitting_size_pt(rows: Sequence[Row]) -> float | None:
    """The largest size of type at which the rows fit one sheet, or None."""
    for tenths in range(round(LARGEST_PT * 10), round(SMALLEST_PT * 10) - 1, -1):
        if _height_mm(rows, tenths / 10) <= HEIGHT_MM:
            return tenths / 10
    return None


def _height_mm(rows: Sequence[Row], size_pt: float) -> float:
    return sum(max(column.height_mm(size_pt) for column in row) for row in rows)


def sheet_html(rows: Sequence[Row]) -> Html:
    """The rows as HTML."""
    return join(*(_row_html(row) for row in rows))


def _row_html(row: Row) -> Html:
    tracks = " ".join(f"minmax(0,{column.share:g}fr)" for column in row)
    return div(
        "row",
        *(div("col", *(block.html for block in column.blocks)) for column in row),
        style=f"grid-template-columns:{tracks}",
    )
