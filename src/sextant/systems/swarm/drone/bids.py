"""What a drone bids for tasks: the more the nearer, and more for the one that is its fair share.

Bids by one's own way alone are greedy: each takes what is near to it, and who comes last crosses
the whole field. So each drone also works out which task it would have if the ways of all together
were the shortest, by what it knows of the others, who are taken to fly straight. The others may
come to something else; the auction has the last word.

Shape suffixes: N drones, this one first; T tasks; S tasks, each as often as drones must share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sextant.errors import missing_engine
from sextant.systems.swarm.agreement.auction import Score
from sextant.systems.swarm.agreement.neighbours import Neighbour
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.drone.planner import Planner, Ways
from sextant.systems.swarm.world.grid import Floats

_OWN_SHARE, _SHUNNED = 1.5, 0.05
"""By so much a bid is worth more, or less."""
_SHUN_S = 6.0
_DETOUR = 1.1
_FAR_M = 1e4


class Bids:
    """One drone's bids."""

    def __init__(self, chart: Chart, planner: Planner) -> None:
        self._chart, self._planner = chart, planner
        self._shunned_s: dict[int, float] = {}

    def shun(self, task: int, now_s: float) -> None:
        """Bid little for a task for a while: it did not get on towards it."""
        self._shunned_s[task] = now_s + _SHUN_S

    def scores(self, now_s: float, cells: dict[int, int], ways: Ways, share: int | None) -> Score:
        """What each task, by its cell, is worth now; `share` is this drone's own."""
        self._shunned_s = {task: s for task, s in self._shunned_s.items() if s > now_s}

        def score(path: Sequence[int], task: int) -> float:
            worth = self._planner.score(list(path), cells, task, ways)
            if task == share and not path:
                worth *= _OWN_SHARE
            return _SHUNNED * worth if task in self._shunned_s else worth

        return score

    def share(
        self, cells: Mapping[int, int], ways: Ways, others: Sequence[Neighbour]
    ) -> int | None:
        """The task that is this drone's, if all ways together are to be the shortest."""
        if not cells:
            return None
        tasks, goals = list(cells), np.array(list(cells.values()))
        metres_NT = np.empty((1 + len(others), len(tasks)))
        metres_NT[0] = ways.metres_C[goals]
        if others:
            gaps_NT2 = (
                self._chart.centres(goals) - np.stack([n.position_2 for n in others])[:, None]
            )
            metres_NT[1:] = _DETOUR * np.hypot(gaps_NT2[..., 0], gaps_NT2[..., 1])
        return tasks[first_share(metres_NT)]


def first_share(metres_NT: Floats) -> int:
    """Which task the first drone has where the sum of all ways is the least.

    Where there are fewer tasks than drones, several share one.
    """
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching
    except ImportError:
        raise missing_engine("scipy", "swarm") from None
    drones, tasks = metres_NT.shape
    metres_NS = np.tile(np.minimum(metres_NT, _FAR_M), -(-drones // tasks))
    # To a sparse matrix a way of no length would be no way.
    _, columns = min_weight_full_bipartite_matching(csr_array(metres_NS + 1.0))
    return int(columns[0] % tasks)
