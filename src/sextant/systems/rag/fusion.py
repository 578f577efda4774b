"""Hybrid search's ranking: meaning and words on one scale.

Shape suffixes: M candidates of one question.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sextant.search.wire import Floats

DENSE_SHARE = 0.5
"""How much of a rank is meaning. Chosen before SciFact was looked at, and borne out by Cranfield,
whose nDCG@10 is flat from 0.4 to 0.6."""


def z_scores(dense_M: Floats, lexical_M: Floats) -> Floats:
    """The sum of both scores, each in deviations from its mean over the candidates.

        DENSE_SHARE z(dense) + (1 - DENSE_SHARE) z(lexical)

    Cosines lie close together and BM25 far apart, by how many words a question has; counted in
    deviations they weigh the same in every question. Candidates come with both scores, so none is
    made up, and a kind that tells no candidate from another adds nothing.
    """
    fused_M = DENSE_SHARE * _z(dense_M) + (1.0 - DENSE_SHARE) * _z(lexical_M)
    return fused_M.astype(np.float32)


def _z(scores_M: Floats) -> npt.NDArray[np.float64]:
    centred_M = scores_M.astype(np.float64) - scores_M.mean(dtype=np.float64)
    deviation = float(centred_M.std())
    return centred_M / deviation if deviation > 0 else np.zeros_like(centred_M)
