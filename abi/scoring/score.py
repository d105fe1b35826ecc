"""Scores of all features from one pass over the training rows, and which features leak the target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from abi.scoring.combine import Terms, combine
from abi.scoring.complexity import cardinality, curvature
from abi.scoring.counts import count, views
from abi.scoring.discrimination import discrimination
from abi.scoring.edges import NumericBins, find_bins
from abi.scoring.null import discoveries, null
from abi.scoring.redundancy import redundancy
from abi.scoring.relevance import relevance
from abi.scoring.terms import chunked, score_terms
from abi.types import FeatureScore, Scores

if TYPE_CHECKING:
    from abi.config import ScoringConfig
    from abi.data.reader import Reader
    from abi.scoring.counts import Counts
    from abi.scoring.edges import Bins
    from abi.types import Problem

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
    redundancy, `carries_signal` and the largest score held as they are.
    """
    features = problem.schema.features
    if not features:
        return Scores(problem=problem, source="data", rows=counts.rows, features=())
    terms = np.zeros((3, config.groups + 1, len(features)))
    points, p_values = np.zeros(len(features)), np.ones(len(features))
    for position, (kind, table) in enumerate(zip(bins.features, counts.tables, strict=True)):
        used = table.any(axis=(1, 2))
        if used.sum() < 2:  # noqa: PLR2004 - a constant
            continue
        tables = views(table[used])
        terms[0, :, position] = relevance(tables)
        terms[1, :, position] = discrimination(table[used], bins.target.coordinates)
        terms[2, :, position] = (
            curvature(tables, kind.levels[used], bins.target.coordinates)
            if isinstance(kind, NumericBins)
            else cardinality(tables)
        )
        points[position], p_values[position] = null(tables[:1], config.shuffles, (problem.split.seed, position))
    carries = discoveries(p_values, config.significance)
    found = Terms(terms[0], terms[1], terms[2], np.zeros(len(features)), points, carries)
    order = np.argsort(-found.relevance[0].round(DIGITS), kind="stable")
    found = found.with_redundancy(redundancy(bins.sample, order))
    combined = combine(found, config)
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, config.groups - 1) * np.sqrt(
        (config.groups - 1) * combined[1:].var(axis=0)
    )
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
                complexity=_rounded(found.complexity[0, i] * carries[i]),
                score=_rounded(combined[0, i]),
                low=_rounded(max(0.0, combined[0, i] - margin[i])),
                high=_rounded(min(1.0, combined[0, i] + margin[i])),
                null=_rounded(points[i]),
                p_value=_rounded(p_values[i]),
                carries_signal=bool(carries[i]),
            )
            for i, feature in enumerate(features)
        ),
    )


def leaks(scores: Scores, limit: float) -> tuple[str, ...]:
    """Features that alone tell the target: their relevance or their held-out R2 (discrimination) reaches `limit`."""
    return tuple(f.feature for f in scores.features if max(f.relevance, f.discrimination) >= limit)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
