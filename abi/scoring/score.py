"""Scores of all features from one pass over the training rows, and which features leak the target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from abi.scoring.combine import combine, interval
from abi.scoring.counts import count
from abi.scoring.edges import CLASSES, find_bins
from abi.scoring.null import discoveries
from abi.scoring.selection import MANY_CLASSES, expect_classes, select_features, with_terms
from abi.scoring.statistics import terms_of
from abi.scoring.terms import chunked, count_texts, score_text
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
BESIDE_DIGITS = 4
"""The same of what comes out of a regression, whose sums lose more of them."""


def score(
    reader: Reader, config: ScoringConfig, *, terms: bool = True, tail: bool = False, together: bool = True
) -> Scores:
    """Score the features of `reader.problem` on its training rows, and the terms of its texts where `terms`.

    The sample fixes the bins, then one pass counts. Time is linear in rows and columns; memory does not grow with rows. With
    `tail` the same counts also say what tells each class of the tail (`abi.scoring.selection`); more classes are told apart then.
    Unless `together` is unset, a feature that tells nothing alone carries signal where it does beside those that do
    (`abi.scoring.beside`); runs that were recorded before that was asked are scored without.

    Raises:
        UsageError: the tail is asked for, and the target has no classes.
    """
    if tail:
        expect_classes(reader.problem.schema)
    bins = bins_for(reader, config, tail=tail)
    scores = from_counts(count(reader, bins, config), bins, reader.problem, config, tail=tail, together=together)
    if not terms:
        return scores
    counted = count_texts(reader, bins.target, chunked(config), config.pieces)
    found = tuple(score_text(name, *given, bins.target) for name, given in counted.items())
    return with_terms(scores, found, counted, bins.target, config.significance) if scores.tail else replace(scores, terms=found)  # fmt: skip


def bins_for(reader: Reader, config: ScoringConfig, *, tail: bool) -> Bins:
    """The bins that `score` counts in."""
    return find_bins(reader, config, MANY_CLASSES if tail else CLASSES)


def from_counts(
    counts: Counts,
    bins: Bins,
    problem: Problem,
    config: ScoringConfig,
    *,
    tail: bool = False,
    together: bool = True,
) -> Scores:
    """Scores from the merged counts of all shards; with `tail` also what is selected for each class of it.

    `low` and `high` are t(G - 1) standard errors of a feature's terms away, with the jackknife over the G groups
    (`abi.scoring.combine.interval`); redundancy and complexity are held as they are. They are for the score that other
    rows, as many and made alike, would give on average.
    """
    features = problem.schema.features
    if not features:
        return Scores(problem=problem, source="data", rows=counts.rows, features=())
    found = terms_of(counts, bins, config, problem.split.seed, together=together)
    beside = np.full(len(features), np.nan) if found.beside is None else found.beside
    tested = np.isfinite(beside)
    carries = found.carries.copy()
    carries[tested] = discoveries(beside[tested], config.significance)
    combined = combine(found, config)
    low, high = interval(found, config, float(stats.t.ppf((1 + CONFIDENCE) / 2, config.groups - 1)))
    return Scores(
        problem=problem,
        source="data",
        rows=counts.rows,
        features=tuple(
            FeatureScore(
                feature=feature.name,
                relevance=_rounded(max(0.0, found.relevance[0, i])),
                discrimination=_rounded(max(0.0, found.discrimination[0, i])),
                redundancy=_rounded(found.redundancy[i]),
                complexity=_rounded(found.complexity[0, i] * found.carries[i]),
                score=_rounded(combined[i]),
                low=_rounded(low[i]),
                high=_rounded(high[i]),
                null=_rounded(found.null[i]),
                p_value=_rounded(found.p_value[i]),
                carries_signal=bool(carries[i]),
                beside=_rounded(beside[i], BESIDE_DIGITS) if tested[i] else None,
            )
            for i, feature in enumerate(features)
        ),
        tail=select_features(counts, bins.target, problem, config) if tail else (),
    )


def leaks(scores: Scores, limit: float) -> tuple[str, ...]:
    """Features that alone tell the target: their relevance or their held-out R2 (discrimination) reaches `limit`."""
    return tuple(f.feature for f in scores.features if max(f.relevance, f.discrimination) >= limit)


def _rounded(value: float, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits}g}")
