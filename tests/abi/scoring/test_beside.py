"""A suppressor says nothing of the target alone, and is found beside what it clears of noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from abi.config import ScoringConfig, load_config
from abi.data.memory import read_memory
from abi.scoring.beside import beside
from abi.scoring.counts import count, merge_all, shards
from abi.scoring.edges import find_bins
from abi.scoring.score import from_counts, score

CONFIG = ScoringConfig()
ROWS = 3000


def _suppressed(seed: int, rows: int = ROWS) -> tuple[dict[str, Any], np.ndarray]:
    """(features, value): `read` is the value's cause plus `offset`, which alone is independent of the value."""
    random = np.random.default_rng(seed)
    cause, offset, noise = random.normal(size=(3, rows))
    features = {"read": cause + 1.5 * offset, "offset": offset, "noise": noise}
    return features, cause + 0.5 * random.normal(size=rows)


def _found(scores: Any) -> dict[str, Any]:
    return {f.feature: f for f in scores.features}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_suppressor_carries_signal_beside_what_it_clears(reader_of, task):
    features, value = _suppressed(1)
    target = {"binary": value > 0, "multiclass": np.digitize(value, [-1, 0, 1]), "regression": value}[task]
    found = _found(score(reader_of(features, target, task), CONFIG))
    assert found["offset"].p_value > 0.05
    assert found["offset"].only_beside
    assert found["offset"].beside < 1e-9
    assert found["read"].beside is None
    assert not found["read"].only_beside
    assert not found["noise"].carries_signal
    assert found["noise"].beside > 0.01


def test_a_category_may_be_a_suppressor(reader_of):
    random = np.random.default_rng(2)
    cause, group = random.normal(size=ROWS), random.integers(5, size=ROWS)
    features = {"read": cause + 2.0 * group, "group": [f"g{g}" for g in group], "other": list("ab" * (ROWS // 2))}
    found = _found(score(reader_of(features, cause + 0.5 * random.normal(size=ROWS) > 0), CONFIG))
    assert found["group"].p_value > 0.05
    assert found["group"].only_beside
    assert not found["other"].carries_signal


def test_a_label_may_have_a_suppressor():
    features, value = _suppressed(3)
    labels = [[name for name, has in (("up", v > 0), ("far", abs(v) > 1)) if has] for v in value]
    found = _found(score(read_memory(pd.DataFrame(features | {"y": labels}), "y", load_config(ambient=False)), CONFIG))
    assert found["offset"].only_beside
    assert not found["noise"].carries_signal


def test_the_p_value_is_that_of_the_partial_f_test(reader_of):
    random = np.random.default_rng(4)
    # as many values as bins at most, so that a bin's middle is the value itself
    a, b, c = (random.integers(0, 9, size=400).astype(float) for _ in range(3))
    y = (a + random.normal(size=400) * 4 - 0.4 * b > 4).astype(int)
    reader = reader_of({"a": a, "b": b, "c": c}, y)
    bins = find_bins(reader, CONFIG)
    carries = np.array([True, False, False])
    p_values = beside(count(reader, bins, CONFIG).sample, bins, np.arange(3), carries)
    assert np.isnan(p_values[0])
    for feature, values in ((1, b), (2, c)):
        without = np.column_stack([np.ones(400), a])
        left, more = (
            np.linalg.lstsq(columns, y.astype(float), rcond=None)[1][0]
            for columns in (without, np.column_stack([without, values]))
        )
        f = (left - more) / (more / (400 - 3))
        assert p_values[feature] == pytest.approx(stats.f.sf(f, 1, 397), rel=1e-6)


def test_noise_is_found_no_more_often_than_chance_has_it(reader_of):
    random = np.random.default_rng(5)
    x = random.normal(size=1000)
    noise = {f"n{i}": random.normal(size=1000) * (1 + np.abs(x)) for i in range(300)}
    features = {"x": x, **noise, "codes": [f"v{v}" for v in random.integers(40, size=1000)]}
    found = [f for f in score(reader_of(features, x + random.normal(size=1000) > 0), CONFIG).features if f.beside]
    assert len(found) >= 295
    # 15 expected; 30 is four deviations more
    assert 3 <= sum(f.beside < 0.05 for f in found) <= 30
    assert not any(f.only_beside for f in found)


def test_what_others_hold_already_and_what_is_constant_is_not_found(reader_of):
    features, value = _suppressed(6)
    found = _found(
        score(reader_of(features | {"again": features["offset"] * 2 + 1, "one": np.ones(ROWS)}, value > 0), CONFIG)
    )
    # each is held against what carries signal alone, so a copy of a suppressor is one too
    assert found["again"].beside == pytest.approx(found["offset"].beside, rel=1e-3)
    assert found["one"].beside == 1.0


def test_without_a_feature_that_carries_signal_nothing_is_tested(reader_of):
    random = np.random.default_rng(7)
    features = {f"n{i}": random.normal(size=500) for i in range(4)}
    found = score(reader_of(features, random.integers(2, size=500)), CONFIG).features
    assert [f.beside for f in found] == [None] * 4
    assert not any(f.carries_signal for f in found)


def test_a_text_is_not_tested_as_its_bins_are_made_by_the_target():
    random = np.random.default_rng(12)
    x = random.normal(size=600)
    frame = pd.DataFrame({
        "x": x, "said": [" ".join(f"word{w}" for w in random.integers(80, size=6)) for _ in x],
        "y": np.where(x + random.normal(size=600) > 0, "yes", "no"),
    })  # fmt: skip
    config = load_config(settings={"data.columns": {"said": "text"}}, ambient=False)
    found = _found(score(read_memory(frame, "y", config), CONFIG))
    assert not found["said"].carries_signal
    assert found["said"].beside is None


def test_few_rows_beside_many_features_are_no_error(reader_of):
    random = np.random.default_rng(8)
    x = np.repeat([0.0, 1.0], 15)
    features = {f"x{i}": (x + random.normal(size=30) / 3).round() for i in range(40)} | {
        "n": np.tile([0.0, 1.0, 2.0], 10)
    }
    found = _found(score(reader_of(features, x.astype(int)), CONFIG))
    assert 0 < found["n"].beside <= 1


def test_shards_in_any_order_give_the_same(reader_of):
    features, value = _suppressed(9, rows=12_000)
    reader = reader_of(features, value > 0)
    bins = find_bins(reader, CONFIG)
    parts = [count(reader, bins, CONFIG, part) for part in shards(12_000, 5)]
    whole = from_counts(count(reader, bins, CONFIG), bins, reader.problem, CONFIG)
    assert from_counts(merge_all(parts[::-1]), bins, reader.problem, CONFIG) == whole
    assert _found(whole)["offset"].only_beside


def test_missing_values_count_as_the_mean(reader_of):
    features, value = _suppressed(10)
    holes = features["offset"].copy()
    holes[::3] = np.nan
    found = _found(score(reader_of(features | {"offset": holes, "gone": np.full(ROWS, np.nan)}, value > 0), CONFIG))
    assert found["offset"].only_beside
    assert found["gone"].beside == 1.0


def test_scores_that_were_recorded_before_have_none_and_are_made_again_so(reader_of):
    features, value = _suppressed(11)
    reader = reader_of(features, value > 0)
    before, now = score(reader, CONFIG, together=False), score(reader, CONFIG)
    assert "beside" not in str(before.to_json())
    assert not _found(before)["offset"].carries_signal
    for old, new in zip(before.features, now.features, strict=True):
        assert (old.score, old.low, old.high, old.p_value) == (new.score, new.low, new.high, new.p_value)
