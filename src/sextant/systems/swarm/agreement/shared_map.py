"""The map that all drones share, with no copy that is the true one.

Each drone writes a layer of its own and copies those of the others. A change of a cell carries a
stamp, the count of its writer's changes; what travels is "all changes after stamp a up to stamp b".
Taking one in twice, or an old one late, changes nothing, and any drone may hand on the layer of any
other, also of one that is gone.
Source: Almeida et al. 2018, Delta state replicated data types (delta-intervals).

Shape suffixes: C cells of the map, laid out in one row; K changed cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.int8]
Stamps = npt.NDArray[np.int64]

SEEN = 32
"""Set in a value: the camera saw the cell. The rest is evidence, below 0 for free."""
MOST = 6
"""Evidence of one drone is kept between -MOST and MOST, so that it stops changing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Cells of one drone's layer that changed after stamp `after` up to stamp `upto`."""

    source: int
    after: int
    upto: int
    cells_K: npt.NDArray[np.int32]
    values_K: Values
    stamps_K: Stamps


class Layer:
    """One drone's evidence, and its stamps."""

    def __init__(self, num_cells: int) -> None:
        self.values_C = np.zeros(num_cells, np.int8)
        self.stamps_C = np.zeros(num_cells, np.int64)
        self.upto = 0

    def write(self, cells_K: npt.NDArray[np.int64], values_K: Values) -> None:
        """Change cells of one's own layer; each cell once, and only where it differs."""
        self.values_C[cells_K] = values_K
        self.stamps_C[cells_K] = self.upto + 1 + np.arange(len(cells_K))
        self.upto += len(cells_K)

    def changes(self, source: int, after: int, most: int) -> Change:
        """What changed after a stamp, at most so many cells, the oldest first."""
        cells = np.flatnonzero(self.stamps_C > after)
        cells = cells[np.argsort(self.stamps_C[cells])]
        upto = self.upto if len(cells) <= most else int(self.stamps_C[cells[most - 1]])
        cells = cells[:most]
        return Change(
            source=source,
            after=after,
            upto=upto,
            cells_K=cells.astype(np.int32),
            values_K=self.values_C[cells],
            stamps_K=self.stamps_C[cells],
        )

    def take(self, change: Change) -> tuple[npt.NDArray[np.int64], Values, Values] | None:
        """Take in a change; returns the cells that are new, their values before, and now. A change
        with a gap before it is refused, and one that brings nothing is passed over.
        """
        if change.after > self.upto or change.upto <= self.upto:
            return None
        # All up to the own stamp is here already, and nothing after it.
        newer = (change.stamps_K > self.upto).nonzero()[0]
        self.upto = change.upto
        cells, values = change.cells_K[newer].astype(np.int64), change.values_K[newer]
        before = self.values_C[cells]
        self.values_C[cells] = values
        self.stamps_C[cells] = change.stamps_K[newer]
        return cells, before, values


class SharedMap:
    """One drone's copy of everybody's layers, and what they say together.

    Attributes:
        evidence_C: the sum of all drones' evidence.
        seen_C: some drone's camera saw the cell.
        known_C: some drone wrote the cell.
        changed: counts the changes.
    """

    def __init__(self, own: int, num_cells: int) -> None:
        self.own = own
        self._num_cells = num_cells
        self.changed = 0
        self._layers: dict[int, Layer] = {own: Layer(num_cells)}
        self.evidence_C = np.zeros(num_cells, np.int16)
        self.seen_C = np.zeros(num_cells, np.bool_)
        self.known_C = np.zeros(num_cells, np.bool_)

    def observe(
        self,
        free: npt.NDArray[np.int64],
        hit: npt.NDArray[np.int64],
        seen: npt.NDArray[np.int64],
    ) -> None:
        """Write what the own sensors saw: cells that rays went through, that stopped one, and that
        the camera saw; each cell once in each.
        """
        self._grow(free, -1)
        self._grow(hit, 2)
        layer = self._layers[self.own]
        fresh = seen[layer.values_C[seen] <= MOST]
        layer.write(fresh, layer.values_C[fresh] + np.int8(SEEN))
        self._note(fresh, np.zeros(len(fresh), np.int16))
        self.seen_C[fresh] = True

    def take(self, *changes: Change) -> None:
        """Take in changes of others' layers."""
        taken = []
        for change in changes:
            if change.source != self.own:
                layer = self._layers.get(change.source)
                if layer is None:
                    layer = self._layers[change.source] = Layer(self._num_cells)
                fresh = layer.take(change)
                if fresh is not None:
                    taken.append(fresh)
        if taken:
            cells_K = np.concatenate([cells for cells, _, _ in taken])
            before_K = np.concatenate([before for _, before, _ in taken])
            values_K = np.concatenate([values for _, _, values in taken])
            self.seen_C[cells_K[values_K > MOST]] = True
            self._note(cells_K, _evidence(values_K) - _evidence(before_K))

    def versions(self) -> dict[int, int]:
        """Up to which stamp each drone's layer is known."""
        return {source: layer.upto for source, layer in self._layers.items()}

    def news_for(self, versions: dict[int, int], most: int) -> list[Change]:
        """What somebody who knows `versions` lacks, at most so many cells in all."""
        news = []
        for source in sorted(self._layers, key=lambda s: s != self.own):
            after = versions.get(source, 0)
            if most > 0 and self._layers[source].upto > after:
                news.append(self._layers[source].changes(source, after, most))
                most -= len(news[-1].cells_K)
        return news

    def _grow(self, cells: npt.NDArray[np.int64], more: int) -> None:
        """Change one's own evidence of cells by the same."""
        layer = self._layers[self.own]
        before = layer.values_C[cells]
        evidence = _evidence(before)
        after = np.minimum(np.maximum(evidence + np.int16(more), -MOST), MOST)
        differs = after != evidence
        cells, grown = cells[differs], (after - evidence)[differs]
        layer.write(cells, before[differs] + grown.astype(np.int8))
        self._note(cells, grown)

    def _note(self, cells: npt.NDArray[np.int64], more: npt.NDArray[np.int16]) -> None:
        """Sum up what has changed; several drones may have written the same cell."""
        if len(cells):
            np.add.at(self.evidence_C, cells, more)
            # What drones disagree on is no unknown cell: there is nothing to fly there for.
            self.known_C[cells] = True
            self.changed += 1


_BYTES = np.arange(256).astype(np.uint8).view(np.int8).astype(np.int16)
_TABLE = np.where(_BYTES > MOST, _BYTES - SEEN, _BYTES).astype(np.int16)
"""The evidence in each value, by its byte."""


def _evidence(values: Values) -> npt.NDArray[np.int16]:
    return np.asarray(_TABLE[values.view(np.uint8)])


_WRITTEN = bytes(byte for byte in range(256) if abs(int(_TABLE[byte])) <= MOST)


def is_evidence(values: Values) -> bool:
    """Whether these are values that `write` could have made."""
    return not values.tobytes().translate(None, _WRITTEN)
