"""Values that share rows by their profile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info

from abi.data.columns import Codes
from abi.inputs.profile import BUCKETS, SHARED_ROWS, ProfileEncoder, Sharing, _fold, learn


def _codes(values: list[Any]) -> Codes:
    known = tuple(dict.fromkeys(v for v in values if v is not None))
    place = {v: i for i, v in enumerate(known)}
    return Codes(np.array([-1 if v is None else place[v] for v in values], dtype=np.int32), known)


def _learn(values: list[Any], target: Any, own: int = 0) -> tuple[Sharing, np.ndarray]:
    axes = np.asarray(target, dtype=np.float64)
    axes = axes[:, None] if axes.ndim == 1 else axes
    return learn(_codes(values), axes, np.arange(len(values)), own)


def test_values_seen_once_tell_nothing_of_their_own_target() -> None:
    random = np.random.default_rng(0)
    target = random.integers(0, 2, 4000)
    sharing, cells = _learn([f"v{i}" for i in range(4000)], target)
    # no other row has the value, so every row stands where an unseen value does: the bucket of the mean, level 0
    assert np.unique(cells[:, 0]).tolist() == [sharing.unseen]
    assert np.unique(cells[:, 1]).tolist() == [BUCKETS]


def test_values_seen_twice_with_a_random_target_tell_no_more_than_chance() -> None:
    random = np.random.default_rng(1)
    target = random.integers(0, 2, 8000)
    _, cells = _learn([f"v{i // 2}" for i in range(8000)], target)
    by_class = np.stack([np.bincount(cells[target == c, 0], minlength=BUCKETS) for c in (0, 1)])
    totals = by_class.sum(axis=0)
    expected = by_class.sum(axis=1, keepdims=True) * totals / totals.sum()
    used = totals > 0
    statistic = ((by_class - expected)[:, used] ** 2 / expected[:, used]).sum()
    assert statistic < used.sum() - 1 + 4 * np.sqrt(2 * used.sum())


def test_frequent_values_have_rows_of_their_own() -> None:
    values = ["b"] * 5 + ["a"] * 5 + ["c"] * 3 + ["d", None]
    sharing, cells = _learn(values, [0, 1] * 7 + [0], own=2)
    assert sharing.own == ("a", "b")
    assert sharing.others == ("c", "d")
    assert sharing.rows == 2 + SHARED_ROWS + 1
    assert cells[:10].tolist() == [[1, sharing.rows]] * 5 + [[0, sharing.rows]] * 5
    assert (cells[10:14, 0] >= 2).all()
    assert cells[14].tolist() == [sharing.rows - 1, sharing.rows]


def test_profiles_by_hand() -> None:
    # 60 rows of "up" (always 1), 60 of "down" (never), 3 of "rare" (always 1): base 63/123 = 0.512;
    # smoothed: up 60.512/61 = 0.99, down 0.512/61 = 0.01, rare 3.512/4 = 0.88
    values = ["up"] * 60 + ["down"] * 60 + ["rare"] * 3
    sharing, cells = _learn(values, [1] * 60 + [0] * 60 + [1] * 3)
    bucket, level = (dict(zip(sharing.others, part, strict=True)) for part in (sharing.bucket, sharing.level))
    assert bucket["up"] > bucket["rare"] > bucket["down"]
    assert bucket["up"] > sharing.unseen > bucket["down"]
    assert level == {"up": 5, "down": 5, "rare": 2}  # from 31, 31 and 2 rows on
    assert cells[60:120, 0].max() < sharing.unseen < cells[:60, 0].min()
    assert set(cells[:120, 1].tolist()) == {BUCKETS + 5}


def test_training_rows_leave_out_their_own_fold() -> None:
    rows = np.arange(400)
    fold = _fold(rows)
    target = (fold == 3).astype(float)  # the answer is known to rows of the same fold alone
    _, cells = learn(_codes(["one"] * 400), target[:, None], rows, 0)
    held = cells[fold == 3, 0]
    assert len(np.unique(held)) == 1
    assert held[0] < cells[fold != 3, 0].min()  # without it the mean is lower


def test_look_up_of_training_values_is_that_of_all_their_rows() -> None:
    random = np.random.default_rng(2)
    values = [f"v{i}" for i in random.integers(0, 60, 3000)]
    sharing, cells = _learn(values, random.random(3000) < 0.3, own=5)
    found = sharing.look_up(_codes(values))
    owned = np.isin(values, sharing.own)
    np.testing.assert_array_equal(found[owned], cells[owned])
    # of 45 other rows one's own tells little: levels agree, buckets are near
    others = np.flatnonzero(~owned)
    assert (found[others, 1] == cells[others, 1]).mean() > 0.9
    assert abs(found[others, 0] - cells[others, 0]).mean() < 2


def test_unseen_and_missing_values() -> None:
    sharing, _ = _learn(["a"] * 20 + ["b"] * 20, [0] * 20 + [1] * 20, own=1)
    found = sharing.look_up(_codes(["new", None, "a", "newer"]))
    unseen = [len(sharing.own) + sharing.unseen, len(sharing.own) + BUCKETS]
    assert found.tolist() == [unseen, [sharing.rows - 1, sharing.rows], [0, sharing.rows], unseen]
    assert sharing.look_up(_codes([])).shape == (0, 2)


def test_values_that_no_training_row_has_are_unseen() -> None:
    codes = Codes(np.zeros(30, dtype=np.int32), ("a", "elsewhere"))
    sharing, _ = learn(codes, np.arange(30.0)[:, None], np.arange(30), 4)
    assert (sharing.own, sharing.others) == (("a",), ())


@pytest.mark.parametrize("classes", [3, 20])
def test_several_classes_are_told_apart(classes: int) -> None:
    random = np.random.default_rng(3)
    target = np.repeat(np.arange(classes), 600)
    values = [f"v{c}-{i}" for c, i in zip(target, random.integers(0, 30, len(target)), strict=True)]
    sharing, cells = _learn(values, np.eye(classes)[target])
    assert cells[:, 0].max() < BUCKETS
    purity = sum(np.bincount(target[cells[:, 0] == b]).max() for b in np.unique(cells[:, 0])) / len(target)
    assert purity > (0.95 if classes <= BUCKETS else 0.9 * BUCKETS / classes)
    assert set(sharing.level) <= {3, 4, 5}  # 20 rows each, more or less


def test_it_survives_json() -> None:
    sharing, _ = _learn(["a", "b", "c", "c", None] * 9, [0, 1, 1, 0, 1] * 9, own=1)
    assert Sharing.from_json(sharing.to_json()) == sharing


def test_an_embedding_is_the_sum_of_two_rows() -> None:
    encoder = ProfileEncoder([30, 26], [3, 2])
    assert encoder.order == [1, 0]
    wide, narrow = encoder.tables[1], encoder.tables[0]
    first, second = np.array([[4, 30], [7, 9]]), np.array([[0, 26], [25, 26]])
    found = encoder(encoder.encode([first, second]))
    torch.testing.assert_close(found[0], torch.cat([narrow[0], wide[4]]))
    torch.testing.assert_close(found[1], torch.cat([narrow[25], wide[7] + wide[9]]))
    found.sum().backward()
    assert wide.grad is not None
    assert wide.grad.sum(1).nonzero().ravel().tolist() == [4, 7, 9]


def test_buckets_of_several_classes_are_found_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, fit = [], KMeans.fit

    def watched(own: KMeans, rows: np.ndarray) -> KMeans:
        taken.extend(library["num_threads"] for library in threadpool_info())
        return fit(own, rows)

    monkeypatch.setattr(KMeans, "fit", watched)
    random = np.random.default_rng(0)
    _learn([f"v{i % 90}" for i in range(900)], np.eye(3)[random.integers(0, 3, 900)])
    assert taken
    assert set(taken) == {1}
