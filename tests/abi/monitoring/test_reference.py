"""What is kept of the training rows, and that counts of parts are those of the whole."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest

from abi.data.columns import Codes
from abi.monitored import Reference
from abi.monitoring import reference as module
from abi.monitoring.drift import kolmogorov_smirnov, wasserstein
from abi.monitoring.reference import CELLS, describe, describe_predictions, refer
from abi.monitoring.tables import lines
from abi.monitoring.tally import columns_of, tally


def all_rows(column):
    return np.arange(len(column.codes) if isinstance(column, Codes) else len(column))


def made(kind, column):
    return describe("f", column, CELLS[kind], all_rows(column))


def test_numeric_cells_by_hand():
    values = np.array([np.nan, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    found = made("numeric", values)
    assert found.edges == (0.0, 0.0, 1.0, 2.0)
    assert found.counts == (1, 2, 3, 0, 1)  # 0, 1, 2, outside, missing
    assert found.fine is not None
    assert found.fine.ends == (0.0, 1.0)
    assert found.fine.rows == (1.0, 2.0, 3.0)
    assert found.fine.means == (0.0, 1.0, 2.0)
    new = tally(found, np.array([-1.0, 0.0, 0.5, 2.0, 3.0, np.inf, -np.inf, np.nan]))
    assert new.counts.tolist() == [1, 1, 1, 4, 1]
    assert new.fine.tolist() == [3, 1, 3]


def test_quantile_bins_hold_about_a_tenth_each():
    found = made("numeric", np.random.default_rng(0).normal(size=5000))
    assert len(found.counts) == 12
    assert all(450 < count < 550 for count in found.counts[:-2])
    assert found.fine is not None
    assert len(found.fine.ends) == 159
    assert sum(found.fine.rows) == 5000


@pytest.mark.parametrize("values", [[np.nan] * 5, [np.inf, -np.inf], []])
def test_numeric_features_without_finite_values(values):
    found = made("numeric", np.array(values, dtype=np.float64))
    assert found.edges == ()
    assert found.rows == len(values)
    assert tally(found, np.array([1.0, np.nan])).counts.tolist() == [1, 1]
    assert lines(found, tally(found, np.array([1.0, np.nan])))[0].cell == "outside"


def test_numbers_that_single_precision_does_not_hold():
    values = np.array([1e300, -1e300, 0.1, 1.7e9 + 0.25, 1.7e9 + 0.5] * 40)
    found = made("numeric", values)
    assert found.rows == 200
    assert tally(found, values).counts.tolist() == list(found.counts)
    assert tally(found, values).fine.tolist() == list(found.fine.rows)


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_fine_cells_hold_numbers_with_a_large_offset_apart(offset):
    random = np.random.default_rng(0)
    found = made("numeric", offset + random.uniform(0, 60, 2000))
    assert type(found).from_json(found.to_json()) == found
    now = tally(found, offset + random.uniform(30, 60, 2000))
    assert found.fine is not None
    assert bool(found.fine.ends_left) == (offset > 0)
    statistic, _ = kolmogorov_smirnov(np.array(found.fine.rows).astype(np.int64), now.fine)
    assert statistic == pytest.approx(0.5, abs=0.03)
    assert wasserstein(found, now) == pytest.approx(15 / (60 / 12**0.5), rel=0.05)


def test_two_numbers_whose_single_precision_is_smaller_have_a_cell_each():
    found = made("numeric", np.array([0.7] * 6 + [0.9] * 4))  # 0.7 is rounded down, so that it would lie above itself
    assert found.fine is not None
    assert found.fine.rows == (6.0, 4.0)
    assert found.fine.exact_means == pytest.approx([0.7, 0.9], abs=1e-14)


def test_references_recorded_before_read_as_they_are():
    found = made("numeric", np.arange(10.0))
    assert found.fine is not None
    assert "_left" not in found.to_json()
    assert found.fine.exact_ends.tolist() == list(found.fine.ends)


def test_category_cells_by_hand(monkeypatch):
    monkeypatch.setattr(module, "VALUES", 2)
    column = Codes(np.array([0, 0, 0, 1, 2, 2, -1], dtype=np.int32), ("c", "b", "a"))
    found = made("category", column)
    assert found.values == ("c", "a")
    assert found.counts == (3, 2, 1, 1)  # c, a, others, missing
    assert not found.complete
    new = tally(found, Codes(np.array([0, 1, 1], dtype=np.int32), ("z", "a")))
    assert new.counts.tolist() == [0, 2, 1, 0]


def test_text_cells_by_hand():
    column = Codes(np.array([0, 0, 1, 2, -1], dtype=np.int32), ("red red fox", "red", ""))
    found = made("text", column)
    assert found.edges == (0.0, 1.0)
    assert found.counts == (1, 1, 2, 1)  # no word, one, more, missing
    rows = dict(zip((*found.values, None), found.terms, strict=True))
    assert rows == {"red": 3, "fox": 2, "red red": 2, "red fox": 2, None: 1}


@pytest.mark.parametrize("kind", ["numeric", "category", "text"])
def test_counts_of_parts_are_those_of_the_whole(kind):
    random = np.random.default_rng(3)
    if kind == "numeric":
        column = np.where(random.random(600) < 0.1, np.nan, random.normal(size=600).round(1))
    else:
        values = tuple(f"n{n} " + " ".join(f"w{i}" for i in random.integers(0, 20, n % 9)) for n in range(90))
        column = Codes(random.integers(-1, 90, 600).astype(np.int32), values)
    reference = made(kind, column)
    whole = tally(reference, column)
    assert whole.counts.tolist() == list(reference.counts)
    assert whole.terms.tolist() == list(reference.terms)
    parts = np.split(random.permutation(600), [1, 50, 50, 400])
    taken = [Codes(column.codes[part], column.values) if isinstance(column, Codes) else column[part] for part in parts]
    joined = reduce(add, (tally(reference, part) for part in taken))
    assert joined.counts.tolist() == whole.counts.tolist()
    assert joined.fine.tolist() == whole.fine.tolist()
    assert joined.terms.tolist() == whole.terms.tolist()
    np.testing.assert_allclose(joined.sums, whole.sums, atol=1e-9)


def test_cells_are_chosen_on_a_sample_and_counted_on_all_rows(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_ROWS", 500)
    values = np.random.default_rng(4).normal(size=4000)
    picked = module._sample(np.arange(4000))
    assert len(picked) == 500
    found = describe("f", values, CELLS["numeric"], picked)
    assert found.rows == 4000
    assert (found.edges[0], found.edges[-1]) == (values.min(), values.max())
    assert found.counts[-2] == 0


def test_predictions(toy):
    binary = toy.table(rows=40).problem.schema
    found = describe_predictions(binary, np.column_stack([np.full(10, 0.25), np.full(10, 0.75)]))
    assert found.kind == "numeric"
    assert found.edges == (0.75, 0.75)
    several = toy.table(task="multiclass", rows=40).problem.schema
    found = describe_predictions(several, np.eye(3)[[0, 0, 2]])
    assert (found.values, found.counts) == (("a", "c"), (2, 1, 0, 0))
    assert describe_predictions(binary, np.zeros((0, 2))) is None


def test_a_reference_is_whole_and_small(toy):
    table = toy.texts(rows=400, numeric=2, categorical=1)
    attention = toy.attention(table.problem, [0.9, 0.1, 0.1, 0.1], 0.4)
    found = refer(table.problem, table.train, np.full((5, 2), 0.5), attention, "f" * 64, toy.config())
    assert [d.feature for d in found.features] == ["t0", "x0", "x1", "c0"]
    assert [d.kind for d in found.features] == ["text", "numeric", "numeric", "category"]
    assert all(d.rows == len(table.train) == found.rows for d in found.features)
    # exp(0.9 / 0.4) and three times exp(0.1 / 0.4): 7.389 to 1
    np.testing.assert_allclose(found.weights, np.array([0.5, 1 / 6, 1 / 6, 1 / 6]), atol=1e-9)  # the cap is a half
    assert found.temperature == 0.4
    assert Reference.from_json(found.to_json()).id == found.id
    assert len(found.canonical()) < 20_000
    np.testing.assert_array_equal(columns_of(table.train, table.problem.schema.features)[2], table.train.numeric[:, 1])


def test_an_even_split_is_judged_at_the_flattest_temperature(toy):
    table = toy.table(rows=100)
    attention = toy.attention(table.problem, [0.4, 0.1, 0.1], None)
    found = refer(table.problem, table.train, np.zeros((0, 2)), attention, "f" * 64, toy.config())
    assert found.temperature == 1.0
    shares = np.exp([0.4, 0.1, 0.1])
    np.testing.assert_allclose(found.weights, shares / shares.sum(), atol=1e-9)
    assert found.prediction is None


def test_lines_of_a_table():
    found = made("category", Codes(np.array([0] * 8 + [1] * 2, dtype=np.int32), ("a", "b")))
    rows = lines(found, tally(found, Codes(np.array([0] * 5 + [1] * 5, dtype=np.int32), ("a", "b"))))
    assert [line.cell for line in rows] == ["a", "b", "other values", "missing"]
    assert (rows[0].share_before, rows[0].share_now) == (0.8, 0.5)
    assert sum(line.part for line in rows) == pytest.approx(0.3 * np.log(4))
    words = made("text", Codes(np.array([0, 1], dtype=np.int32), ("a", "a b c")))
    told = [line.cell for line in lines(words, tally(words, Codes(np.array([0], dtype=np.int32), ("a",))))]
    assert told[:4] == ["0 words", "over 0 to 1 words", "over 1 words", "missing"]
    assert told[-1] == "term none of these terms"
