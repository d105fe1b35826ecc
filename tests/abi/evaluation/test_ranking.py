"""Rankings of each user's rows, by hand."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from abi.evaluation import bootstrap
from abi.evaluation.bootstrap import resamples
from abi.evaluation.ranking import METRICS, _means, per_user, ranking


def test_one_user_by_hand() -> None:
    # by prediction: gains 1, 3, 2; relevant from 2 on
    (found,) = per_user(
        np.zeros(3, np.int64), np.array([3.0, 1.0, 2.0]), np.array([True, False, True]), np.array([0.5, 0.9, 0.1])
    )
    dcg = 1 + 3 / math.log2(3) + 2 / 2
    best = 3 + 2 / math.log2(3) + 1 / 2
    assert dict(zip(METRICS, found, strict=True)) == pytest.approx(
        {"ndcg@10": dcg / best, "hit_rate@10": 1.0, "recall@10": 1.0, "mrr": 1 / 2}
    )


def test_only_the_first_ten_count() -> None:
    relevant = np.zeros(24, bool)
    relevant[[11, 12]] = True
    (found,) = per_user(np.zeros(24, np.int64), relevant.astype(float), relevant, -np.arange(24.0))
    assert found == pytest.approx([0.0, 0.0, 0.0, 1 / 12])


def test_users_with_nothing_to_rank_are_left_out() -> None:
    users, target = np.array([0, 0, 1, 1, 2, -1, -1]), np.array([5.0, 1, 5, 4, 1, 5, 1])
    predicted = np.array([2.0, 1.0, 1.0, 2.0, 3.0, 1.0, 2.0])
    both = {"model": predicted, "uniform": -predicted}
    found = ranking("regression", target, users, both, target, 4.0, 100, 0)
    assert found is not None
    assert (found.users, found.threshold) == (1, 4.0)  # of the first alone one row is relevant and one is not
    assert found.metrics["mrr"].value == 1.0
    assert found.controls["uniform"]["mrr"] == 0.5


def test_of_two_classes_the_second_is_relevant_and_of_more_none() -> None:
    users, target = np.zeros(2, np.int64), np.array([1, 0])
    both = {"model": np.array([[0.2, 0.8], [0.7, 0.3]])}
    found = ranking("binary", target, users, both, target, None, 100, 0)
    assert found is not None
    assert found.metrics["ndcg@10"].value == 1.0
    assert ranking("multiclass", target, users, both, target, None, 100, 0) is None
    assert ranking("binary", np.array([1, 1]), users, both, target, None, 100, 0) is None


def test_users_are_resampled_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    users, figures = 8008, np.random.default_rng(0).random((8008, 4))
    chunks = list(resamples(users, 1000, 0))
    assert [len(counts) for counts in chunks] == [999, 1]
    assert np.array_equal(_means(figures, 1000, 0), np.concatenate(chunks) @ figures / users)
    monkeypatch.setattr(bootstrap, "CHUNK_VALUES", 10 * users)
    tracemalloc.start()
    _means(figures, 200, 0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200 * users * 8 / 2  # of all counts at once


def test_the_upper_quartile_of_the_taught_rows_is_relevant() -> None:
    target, one = np.array([5.0, 1.0]), {"model": np.array([1.0, 0.0])}
    found = ranking("regression", target, np.zeros(2, np.int64), one, np.arange(1.0, 6.0), None, 100, 0)
    assert found is not None
    assert found.threshold == 4.0  # three of five lie below
