from __future__ import annotations

import numpy as np
import pytest

from abi.adapting.derived import Target, change, derived
from abi.adapting.labels import Arrivals
from abi.streaming import AdaptConfig


def target(labels, delay=1, numeric=False):
    values = np.array(labels, np.float64 if numeric else object)
    known = ~np.isnan(values) if numeric else np.array([label is not None for label in labels])
    return Target("y", values, Arrivals.of(known, delay), numeric)


def test_change_from_the_last_row_and_from_a_weighted_mean():
    values = np.array([1.0, 3.0, np.nan, 4.0])
    assert change(values, 0.0)[1:].tolist()[:1] == [2.0]
    assert change(values, 0.0)[3] == 1.0  # from the last one that is there
    # half-life 1: (1/2 * 1 + 1 * 3) / (3/2) = 7/3
    assert change(np.array([1.0, 3.0, 5.0]), 1.0)[2] == pytest.approx(5 - 7 / 3)
    assert np.isnan(change(values, 2.0)[0])


def test_label_features_by_hand():
    found = derived(target(["u", "d", None, "d", "u"]), {}, ("d", "u"), AdaptConfig(lags=2, recent=(2,)))
    assert found["y: lag 1"].to_pylist() == [None, "u", "d", "d", "d"]
    assert found["y: lag 2"].to_pylist() == [None, None, "u", "u", "d"]
    assert found["y: run"].to_pylist() == [None, 1.0, 1.0, 1.0, 2.0]
    assert found["y: share of u in 2"].to_pylist() == [None, 1.0, 0.5, 0.5, 0.0]
    assert "y: share of d in 2" not in found


def test_target_of_numbers():
    found = derived(
        target([2.0, 4.0, np.nan, 9.0], numeric=True), {}, (), AdaptConfig(lags=1, recent=(2,), halves=(0.0,))
    )
    assert found["y: lag 1"].to_pylist() == [None, 2.0, 4.0, 4.0]
    assert found["y: mean of 2"].to_pylist() == [None, 2.0, 3.0, 3.0]
    assert found["y: change 1"].to_pylist() == [None, None, 2.0, 2.0]


@pytest.mark.parametrize("delay", [1, 3])
def test_nothing_of_a_row_comes_from_later_rows_or_from_labels_that_have_not_arrived(delay):
    random = np.random.default_rng(0)
    labels = random.choice(["a", "b", "c", None], 60).tolist()
    numbers = {"x": random.normal(size=60)}
    config = AdaptConfig(label_delay=delay)
    before = derived(target(labels, delay), numbers, ("a", "b", "c"), config)
    at = 40
    other = [*labels[: at - delay + 1], *random.permutation(labels[at - delay + 1 :]).tolist()]
    later = {"x": np.where(np.arange(60) > at, 99.0, numbers["x"])}
    after = derived(target(other, delay), later, ("a", "b", "c"), config)
    for name, column in before.items():
        assert column.slice(0, at + 1).equals(after[name].slice(0, at + 1)), name
    assert not before["y: lag 1"].equals(after["y: lag 1"])
