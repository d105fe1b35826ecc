from __future__ import annotations

import numpy as np
import pytest

from abi.config import ScoringConfig
from abi.errors import UsageError
from abi.scoring.combine import Terms, combine, interval, jackknife_error
from abi.scoring.score import leaks, score
from abi.types import Scores

CONFIG = ScoringConfig()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(11)
    n = 4000
    strong, bent, noise = rng.normal(size=(3, n))
    value = strong + 0.7 * (bent**2 - 1) + rng.normal(size=n)
    gone = strong.copy()
    gone[value > 1] = np.nan
    features = {
        "strong": strong,
        "copy": 3 * strong - 5,
        "bent": bent,
        "noise": noise,
        "constant": np.ones(n),
        "gone": np.where(np.isnan(gone), np.nan, 0.0),
        "letters": [None if v < -2 else "abcdef"[int(min(5, v + 2))] for v in strong],
        "row": [f"r{i}" for i in range(n)],
    }
    return features, value


@pytest.fixture(params=["binary", "multiclass", "regression"])
def reader(request, data, reader_of):
    features, value = data
    target = {"binary": value > 0, "multiclass": np.digitize(value, [-1, 0, 1]), "regression": value}[request.param]
    return reader_of(features, target, request.param)


def by_name(scores):
    return {f.feature: f for f in scores.features}


def test_the_ranking_makes_sense(reader):
    scores = score(reader, CONFIG)
    found = by_name(scores)
    assert [f.feature for f in scores.features] == [f.name for f in reader.problem.schema.features]
    assert scores.rows == 4000
    assert {n for n, f in found.items() if f.carries_signal} == {"strong", "copy", "bent", "gone", "letters"}
    assert max(f.score for f in scores.features) == 1.0
    assert found["strong"].score > max(found["copy"].score, found["letters"].score)
    assert min(found["copy"].score, found["letters"].score) > 3 * found["noise"].score
    assert found["copy"].redundancy == pytest.approx(1.0, abs=0.02)
    assert found["bent"].complexity > 0.8
    assert found["strong"].complexity < 0.2
    # all that it tells is where it is missing
    assert found["gone"].relevance > 0.1
    for name in ("constant", "row"):
        assert (found[name].score, found[name].relevance, found[name].p_value) == (0.0, 0.0, 1.0)
    assert found["noise"].score < 0.1
    for f in scores.features:
        assert 0 <= f.low <= f.score <= f.high <= 1


def test_the_same_rows_are_the_same_bytes(reader):
    first = score(reader, CONFIG).canonical()
    assert score(reader, CONFIG.model_copy(update={"chunk_rows": 123})).canonical() == first
    assert Scores.from_json(score(reader, CONFIG).to_json()).canonical() == first


def test_order_keeping_changes_of_a_feature_do_not_matter(data, reader_of):
    features, value = data
    target = value > 0
    plain = score(reader_of({"x": features["strong"], "z": features["bent"]}, target), CONFIG).features
    bent = score(reader_of({"x": np.exp(features["strong"]), "z": features["bent"]}, target), CONFIG).features
    assert (plain[0].relevance, plain[0].discrimination) == (bent[0].relevance, bent[0].discrimination)


def test_redundancy_of_a_sorted_table(reader_of):
    rng = np.random.default_rng(1)
    x = np.maximum(0, np.sort(rng.normal(size=12_000)))
    scores = score(reader_of({"x": x, "same": x > 0.5}, x + rng.normal(size=12_000), "regression"), CONFIG)
    # the first half of the rows is constant, in both
    assert scores.features[1].redundancy > 0.8


def test_nothing_carries_signal(reader_of):
    rng = np.random.default_rng(0)
    scores = score(reader_of({"a": rng.normal(size=500), "b": np.ones(500)}, rng.integers(0, 2, 500)), CONFIG)
    assert [(f.score, f.low, f.high, f.carries_signal) for f in scores.features] == [(0.0, 0.0, 0.0, False)] * 2


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_leaks_are_named(data, reader_of, task):
    features, value = data
    target = value if task == "regression" else (value > 0).astype(float)
    found = score(reader_of({"twice": -2 * target, "same": target, "x": features["strong"]}, target, task), CONFIG)
    assert leaks(found, 0.98) == ("twice", "same")


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_hardly_any_rows(reader_of, rows, task):
    reader = reader_of({"x": np.arange(rows) + 0.5, "c": ["a", None, "b", "a", "c"][:rows]}, np.arange(rows) % 2, task)
    scores = score(reader, CONFIG)
    assert scores.rows == rows
    assert all(0 <= f.low <= f.score <= f.high <= 1 for f in scores.features)


def test_no_features(reader_of):
    assert score(reader_of({}, [0, 1, 1]), CONFIG).features == ()


def test_extreme_values(reader_of):
    rng = np.random.default_rng(3)
    x = rng.normal(size=1000)
    wild = np.where(x > 0, np.clip(x, 0, 1) * 1e308, x)
    wild[:4] = [np.inf, -np.inf, np.nan, 1.7e308]
    for task, target in (("binary", x > 0), ("regression", wild[np.isfinite(wild)][:900])):
        scores = score(reader_of({"wild": wild[: len(target)]}, target, task), CONFIG)
        assert scores.features[0].carries_signal == (task == "binary")


def terms(relevance, discrimination, complexity, redundancy, null, carries):
    view = [np.array([x, x], dtype=float) for x in (relevance, discrimination, complexity)]
    p_value = np.where(carries, 0.0, 1.0)
    return Terms(*view, np.array(redundancy), np.array(null), p_value, np.array(carries))


def test_combination_by_hand():
    # weights 1, 0.5, 0.25. first: (0.8 + 0.5 * 0.4) / 1.5 * 1 = 2/3; second: (0.4 + 0.5 * 0.3) / 1.5 * 1.125 / 1.25 = 0.33
    found = combine(
        terms([0.64, 0.16, 0.0], [0.16, 0.18, 0.0], [1.0, 0.5, 1.0], [0.0, 0.5, 0.0], [0.0] * 3, [True, True, False]),
        CONFIG,
    )
    np.testing.assert_allclose(found, [1.0, 0.33 / (2 / 3), 0.0])


def test_without_signal_only_what_exceeds_the_null_counts():
    found = combine(
        terms([0.25, 0.05, 0.05], [0.0] * 3, [0.0] * 3, [0.0] * 3, [0.01, 0.05, 0.04], [True, False, False]), CONFIG
    )
    np.testing.assert_allclose(found, [1.0, 0.0, 0.2])


def test_an_end_of_an_interval_is_the_score_of_the_ends_of_its_terms():
    # three views: all rows, and without either of two groups; (G - 1) var = 0.04^2, so R = 0.36 +- 2 * 0.04 for the second
    relevance = np.array([[0.64, 0.36, -0.01, 0.02], [0.64, 0.40, -0.01, 0.02], [0.64, 0.32, -0.01, 0.02]])
    still = np.zeros_like(relevance)
    found = Terms(
        relevance,
        still,
        still,
        np.zeros(4),
        np.full(4, 0.03),
        np.array([0.0, 0.0, 1.0, 0.0]),
        np.array([True, True, False, True]),
    )
    low, high = interval(found, ScoringConfig(discrimination=0, complexity=0), 2.0)
    # over the best one's root, 0.8; the last is said to carry signal, but lies within the null
    np.testing.assert_allclose(low, [1.0, np.sqrt(0.28) / 0.8, 0.0, 0.0])
    np.testing.assert_allclose(high, [1.0, np.sqrt(0.44) / 0.8, 0.0, np.sqrt(0.02) / 0.8])


def test_the_error_of_the_best_feature_is_in_every_interval():
    # (G - 1) var = 0.1^2 of 0.5: the scale is known to 2 * 0.1 / 0.5 = 0.4 of every score
    best = np.array([0.5, 0.6, 0.4])
    relevance = np.column_stack([best**2, np.full(3, 0.0625)])
    still = np.zeros_like(relevance)
    flags = np.array([True, True])
    found = Terms(relevance, still, still, np.zeros(2), np.zeros(2), np.zeros(2), flags)
    low, high = interval(found, ScoringConfig(discrimination=0, complexity=0), 2.0)
    assert (low[1], high[1]) == (pytest.approx(0.5 * 0.6), pytest.approx(0.5 * 1.4))


def test_the_jackknife_of_a_mean_is_its_standard_error():
    # means without 1, 2 or 3 of (1, 2, 3): the standard error is sqrt(1 / 3)
    assert jackknife_error(np.array([[2.0], [2.5], [2.0], [1.5]]))[0] == pytest.approx(np.sqrt(1 / 3))


def test_complexity_alone_cannot_score():
    with pytest.raises(UsageError, match=r"scoring\.relevance or scoring\.discrimination above 0"):
        combine(terms([0.1], [0.1], [0.1], [0.0], [0.0], [True]), ScoringConfig(relevance=0, discrimination=0))


def test_intervals_hold_the_expected_score(reader_of):
    rng = np.random.default_rng(13)
    found = []
    for _ in range(60):
        x = rng.normal(size=1500)
        y = (x + 1.5 * rng.normal(size=1500) > 0).astype(float)
        # the copy of the target is 1 in every repeat, so that it fixes the scale
        f = score(reader_of({"y": y, "x": x}, y), CONFIG).features[1]
        found.append((f.low, f.score, f.high))
    low, middle, high = np.array(found).T
    covered = ((low <= middle.mean()) & (middle.mean() <= high)).mean()
    # 95% of 60, less three standard deviations
    assert covered >= 0.86
    # and no wider than needed: half its width is about twice the spread between repeats
    assert (high - low).mean() / 2 < 3.5 * middle.std()
