"""How good scores are: what they find of planted noise, how steady their ranking is, how often their intervals hold.

All of it comes from counts: halves of the rows are halves of the row groups, repeats are shards.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from abi.errors import UsageError
from abi.scoring.counts import Counts, merge_all
from abi.scoring.score import from_counts

if TYPE_CHECKING:
    from abi.config import ScoringConfig
    from abi.problem import Problem
    from abi.scoring.edges import Bins
    from abi.types import Scores


@dataclass(frozen=True)
class Planted:
    """Share of planted noise that is said to carry no signal, and share of the other features that is as well."""

    recall: float
    false_alarms: float


@dataclass(frozen=True)
class Stability:
    """Mean rank correlations of the scores of disjoint halves of the rows."""

    kendall: float
    spearman: float


@dataclass(frozen=True)
class Coverage:
    """How often the intervals of shards hold the truth, over features that carry signal in all rows.

    The best feature is left out, since its score is 1 by definition.

    Attributes:
        expected: share of intervals that hold the mean score of all shards: what the interval is made for.
        whole: share that holds the score of all rows together, from which fewer rows differ not by chance alone: weak
            features fall below the null.
        width: mean width of the intervals.
    """

    expected: float
    whole: float
    width: float


def planted(scores: Scores, noise: Collection[str]) -> Planted:
    """What is found of the features named in `noise`, which were made without regard to the target."""
    silent = {feature.feature: not feature.carries_signal for feature in scores.features}
    inside = [silent[name] for name in silent if name in set(noise)]
    outside = [silent[name] for name in silent if name not in set(noise)]
    return Planted(float(np.mean(inside)) if inside else 1.0, float(np.mean(outside)) if outside else 0.0)


def stability(counts: Counts, bins: Bins, problem: Problem, config: ScoringConfig, halvings: int = 8) -> Stability:
    """Rank correlation of the scores of two halves of the rows, over random halvings of the row groups.

    Raises:
        UsageError: fewer than two features, or than four row groups.
    """
    features, groups = len(bins.features), config.groups
    if features < 2 or groups < 4:  # noqa: PLR2004 - a ranking, and two groups per half for its jackknife
        msg = f"Expected at least two features and four row groups, got {features} and {groups}: nothing can be ranked twice."
        raise UsageError(msg)
    random = np.random.default_rng(problem.split.seed)
    found = []
    for _ in range(halvings):
        order = random.permutation(groups)
        halves = order[: groups // 2], order[groups // 2 : groups // 2 * 2]
        first, second = (_scores(_of_groups(counts, half), bins, problem, config) for half in halves)
        if np.ptp(first) > 0 and np.ptp(second) > 0:
            found.append((stats.kendalltau(first, second).statistic, stats.spearmanr(first, second).statistic))
        else:  # a half without any signal ranks nothing
            found.append((0.0, 0.0))
    kendall, spearman = np.mean(found, axis=0).tolist()
    return Stability(kendall, spearman)


def coverage(shards: Sequence[Counts], bins: Bins, problem: Problem, config: ScoringConfig) -> Coverage:
    """How often the intervals that shards give on their own hold the score of all shards together.

    Shards stand for repeats, so the rows of a table must be in no order. The score of all rows has an error of its own, smaller by the root of the number of shards.
    """
    whole = from_counts(merge_all(shards), bins, problem, config).features
    kept = [i for i, feature in enumerate(whole) if feature.carries_signal and feature.score < 1]
    if not kept:
        return Coverage(1.0, 1.0, 0.0)
    scored = (from_counts(shard, bins, problem, config).features for shard in shards)
    found = [[features[i] for i in kept] for features in scored]
    low, score, high = (
        np.array([[getattr(f, name) for f in row] for row in found]) for name in ("low", "score", "high")
    )
    truths = score.mean(axis=0), np.array([whole[i].score for i in kept])
    expected, of_all = (float(((low <= truth) & (truth <= high)).mean()) for truth in truths)
    return Coverage(expected, of_all, float((high - low).mean()))


def _of_groups(counts: Counts, groups: np.ndarray) -> Counts:
    tables = tuple(np.ascontiguousarray(table[:, groups]) for table in counts.tables)
    return Counts(int(tables[0].sum()), tables, counts.sample)


def _scores(counts: Counts, bins: Bins, problem: Problem, config: ScoringConfig) -> np.ndarray:
    fewer = config.model_copy(update={"groups": counts.tables[0].shape[1]})
    return np.array([feature.score for feature in from_counts(counts, bins, problem, fewer).features])
