from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from abi.config import ScoringConfig
from abi.errors import UsageError
from abi.scoring.counts import count, shards
from abi.scoring.edges import find_bins
from abi.scoring.quality import coverage, planted, stability
from abi.scoring.score import from_counts

CONFIG = ScoringConfig(bins=16)


def graded(reader_of, weights, rows, seed=0):
    """Features x0, x1, .. that add to the odds of the target with these weights."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, len(weights)))
    y = x @ np.array(weights) + rng.logistic(size=rows) > 0
    return reader_of({f"x{i}": x[:, i] for i in range(len(weights))}, y)


def counted(reader, config=CONFIG):
    bins = find_bins(reader, config)
    return count(reader, bins, config), bins, reader.problem, config


def test_planted_by_hand():
    features = [SimpleNamespace(feature=n, carries_signal=c) for n, c in zip("abcde", [1, 0, 0, 0, 1], strict=True)]
    found = planted(SimpleNamespace(features=features), {"c", "d", "e"})
    assert (found.recall, found.false_alarms) == (pytest.approx(2 / 3), 0.5)
    assert planted(SimpleNamespace(features=features), ()).recall == 1.0


def test_clear_grades_rank_alike_in_all_halves(reader_of):
    found = stability(*counted(graded(reader_of, [2.0, 1.0, 0.5, 0.25], 20_000)))
    assert found.kendall == found.spearman == 1.0


def test_noise_ranks_by_chance(reader_of):
    found = stability(*counted(graded(reader_of, [0.0] * 30, 3000)))
    assert abs(found.kendall) < 0.3


def test_too_little_to_rank(reader_of):
    with pytest.raises(UsageError, match="two features and four row groups, got 1 and 10"):
        stability(*counted(graded(reader_of, [1.0], 100)))


def test_intervals_of_shards_hold_the_score_of_all(reader_of):
    reader = graded(reader_of, [2.0, 1.0, 0.7, 0.5, 0.0], 60_000)
    bins = find_bins(reader, CONFIG)
    parts = [count(reader, bins, CONFIG, part) for part in shards(60_000, 30)]
    found = coverage(parts, bins, reader.problem, CONFIG)
    # 95% of 3 features in 30 shards, less two standard deviations of a share of 90
    assert found.expected >= 0.9
    assert found.whole >= 0.86
    assert found.width < 0.5
    # a shard that is the whole lies in the middle of its own interval
    alone = coverage([parts[0]], bins, reader.problem, CONFIG)
    assert (alone.expected, alone.whole) == (1.0, 1.0)


def test_an_interval_allows_for_a_signal_too_weak_to_be_found(reader_of):
    reader = graded(reader_of, [2.0, 0.12, 0.12, 0.12, 0.2, 0.2], 60_000)
    bins = find_bins(reader, CONFIG)
    parts = [count(reader, bins, CONFIG, part) for part in shards(60_000, 60)]
    scores = [from_counts(part, bins, reader.problem, CONFIG).features for part in parts]
    assert np.mean([f.carries_signal for row in scores for f in row[1:]]) < 0.5
    held = coverage(parts, bins, reader.problem, CONFIG)
    # 95% of 5 features in 60 shards, less two standard deviations of a share of 300
    assert held.expected >= 0.925
    assert held.width < 0.35
