"""Scores of all features from one pass over the training rows, and which features leak the target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from scipy import stats

from abi.scoring.combine import combine, combine_uncut
from abi.scoring.counts import count
from abi.scoring.edges import find_bins
from abi.scoring.statistics import terms_of
from abi.scoring.terms import chunked, score_terms
from abi.types import FeatureScore, Scores

if TYPE_CHECKING:
    from abi.config import ScoringConfig
    from abi.data.reader import Reader
    from abi.problem import Problem
    from abi.scoring.counts import Counts
    from abi.scoring.edges import Bins

CONFIDENCE = 0.95
DIGITS = 9
"""Significant digits kept, so that a score is the same bytes whichever processor added up its last bit."""


def score(reader: Reader, config: ScoringConfig) -> Scores:
    """Score the features of `reader.problem` on its training rows.

    The sample fixes the bins, then one pass counts. Time is linear in rows and columns; memory does not grow with rows.
    """
    bins = find_bins(reader, config)
    scores = from_counts(count(reader, bins, config), bins, reader.problem, config)
    return replace(scores, terms=score_terms(reader, bins.target, chunked(config)))


def from_counts(counts: Counts, bins: Bins, problem: Problem, config: ScoringConfig) -> Scores:
    """Scores from the merged counts of all shards.

    `low` and `high` are the score plus and minus t(G - 1) standard errors of the delete-a-group jackknife over the G
    groups, SE^2 = (G - 1)/G sum_g (s_g - mean s)^2, with each s_g combined from its terms without group g, and with
    redundancy, `carries_signal` and the largest score held as they are. Where a feature is not found to carry signal,
    `high` is that of its score without the cut at the null: it may be a weak one, and the interval says how strong at most.
    """
    features = problem.schema.features
    if not features:
        return Scores(problem=problem, source="data", rows=counts.rows, features=())
    found = terms_of(counts, bins, config, problem.split.seed)
    combined = combine(found, config)
    uncut = combine_uncut(found, config)
    low = combined[0] - _margin(combined, config.groups)
    high = uncut[0] + _margin(uncut, config.groups)
    return Scores(
        problem=problem,
        source="data",
        rows=counts.rows,
        features=tuple(
            FeatureScore(
                feature=feature.name,
                relevance=_rounded(found.relevance[0, i]),
                discrimination=_rounded(found.discrimination[0, i]),
                redundancy=_rounded(found.redundancy[i]),
                complexity=_rounded(found.complexity[0, i] * found.carries[i]),
                score=_rounded(combined[0, i]),
                low=_rounded(max(0.0, low[i])),
                high=_rounded(min(1.0, high[i])),
                null=_rounded(found.null[i]),
                p_value=_rounded(found.p_value[i]),
                carries_signal=bool(found.carries[i]),
            )
            for i, feature in enumerate(features)
        ),
    )


def leaks(scores: Scores, limit: float) -> tuple[str, ...]:
    """Features that alone tell the target: their relevance or their held-out R2 (discrimination) reaches `limit`."""
    return tuple(f.feature for f in scores.features if max(f.relevance, f.discrimination) >= limit)


def _margin(views: Float64[np.ndarray, "views features"], groups: int) -> Float64[np.ndarray, " features"]:
    """Half the width of the jackknife's interval."""
    factor = stats.t.ppf((1 + CONFIDENCE) / 2, groups - 1)
    return np.asarray(factor * np.sqrt((groups - 1) * views[1:].var(axis=0)))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
