"""What the terms of a text tell."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from abi.data.columns import Codes
from abi.scoring.edges import _class_target
from abi.scoring.terms import TermCounts, add, empty, from_counts, merge, score_terms, text_columns

WORDS = ("a", "b", "c")
BINARY = _class_target(2, Counter({0: 1, 1: 1}))


def _counts(texts: list[str | None], classes: list[int], size: int = 2) -> TermCounts:
    known = tuple(dict.fromkeys(t for t in texts if t is not None))
    codes = Codes(np.array([-1 if t is None else known.index(t) for t in texts], dtype=np.int32), known)
    return add(empty(len(WORDS), size), codes, np.array(classes, dtype=np.int64), WORDS)


def test_counts_by_hand() -> None:
    found = _counts(["a b", "a a", None, "c", "a b", "unknown"], [0, 1, 1, -1, 1, 0])
    assert found.classes.tolist() == [2, 3]  # a row without a text counts, one without a class does not
    assert found.table.tolist() == [[1, 2], [1, 1], [0, 0]]


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from(["a", "a b", "c a", "", None]), st.integers(-1, 2)), max_size=30),
    cuts=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_parts_merged_in_any_order_are_a_single_pass(rows: Any, cuts: Any) -> None:
    low, high = sorted(cuts)
    parts = [_counts([t for t, _ in p], [c for _, c in p], 3) for p in (rows[:low], rows[low:high], rows[high:])]
    whole = _counts([t for t, _ in rows], [c for _, c in rows], 3)
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = merge(parts[order[0]], merge(parts[order[1]], parts[order[2]]))
        np.testing.assert_array_equal(merged.classes, whole.classes)
        np.testing.assert_array_equal(merged.table, whole.table)


def test_mutual_information_by_hand() -> None:
    # a stands in all of one class and none of the other: ln 2, less no bias (one class seen); b in half of each: 0
    counts = TermCounts(np.array([50, 50]), np.array([[50, 0], [25, 25], [30, 20]]))
    found = from_counts("t", WORDS, counts)
    assert found.terms == ("a", "b", "c")
    both = [[30, 20], [20, 30]]
    information = sum(n / 100 * math.log(n / 100 / 0.25) for row in both for n in row)
    expected = [1.0, 0.0, (information - 1 / 200) / math.log(2)]
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    assert found.rows == (50.0, 50.0, 50.0)
    # the errors: ln^2 is the same in all cells of "a", so its own is 0
    assert found.errors[0] == pytest.approx(0.0, abs=1e-6)
    assert found.errors[2] > 0


def test_mutual_information_is_scikit_learns_before_the_correction() -> None:
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, 500)
    there = random.random((500, 2)) < np.array([[0.2, 0.5]]) + 0.1 * classes[:, None]
    table = np.stack([np.bincount(classes[there[:, i]], minlength=3) for i in range(2)])
    found = from_counts("t", ("a", "b"), TermCounts(np.bincount(classes), table))
    raw = {t: mutual_info_score(classes, there[:, i]) - 2 / 1000 for i, t in enumerate(("a", "b"))}
    ratio = min(raw.values()) / max(raw.values())
    assert sorted(found.scores) == pytest.approx([ratio, 1.0], rel=1e-4)


def test_terms_come_most_frequent_first_and_those_that_never_stand_are_left_out() -> None:
    counts = TermCounts(np.array([5, 5]), np.array([[0, 0], [1, 1], [3, 2]]))
    assert from_counts("t", WORDS, counts).terms == ("c", "b")


def test_noise_terms_are_near_zero_beside_a_real_one() -> None:
    random = np.random.default_rng(1)
    classes = random.integers(0, 2, 5000)
    there = random.random((5000, 200)) < 0.1
    there[:, 0] = random.random(5000) < 0.1 + 0.3 * classes
    table = np.stack([np.bincount(classes[there[:, i]], minlength=2) for i in range(200)])
    found = from_counts("t", tuple(f"w{i:03}" for i in range(200)), TermCounts(np.bincount(classes), table))
    by_term = dict(zip(found.terms, found.scores, strict=True))
    assert by_term.pop("w000") == 1.0
    assert max(by_term.values()) < 0.05
    assert np.mean(list(by_term.values())) < 0.005


def test_nothing_counted_is_nothing_scored() -> None:
    found = from_counts("t", WORDS, empty(3, 2))
    assert (found.terms, found.scores) == ((), ())


def test_a_readers_texts_are_scored_in_any_chunks(reader_of: Any) -> None:
    texts = ["good film", "bad film", "good", "bad", None, "film"] * 10
    reader = reader_of({"x": np.arange(60.0), "k": ["u", "v"] * 30, "t": texts}, [1, 0, 1, 0, 1, 0] * 10)
    features = tuple(replace(f, kind="text") if f.name == "t" else f for f in reader.problem.schema.features)
    reader = replace(reader, problem=replace(reader.problem, schema=replace(reader.problem.schema, features=features)))
    assert text_columns(reader.problem.schema) == {"t": 1}
    whole, parts = (score_terms(reader, BINARY, n) for n in (1000, 7))
    assert whole == parts
    by_term = dict(zip(whole[0].terms, whole[0].scores, strict=True))
    assert by_term["good"] == by_term["bad"] == 1.0
    assert by_term["film"] < 0.2
    assert whole[0].texts == 60
