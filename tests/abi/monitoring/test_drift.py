"""Stability index, tests and what counts as drift, with numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from abi.data.columns import Codes
from abi.monitored import AttentionDrift, FeatureDrift
from abi.monitoring.drift import (
    attention_level,
    chance_index,
    data_level,
    holm,
    homogeneity,
    judge,
    kolmogorov_smirnov,
    prediction_level,
    stability_index,
    wasserstein,
)
from abi.monitoring.reference import CELLS, describe
from abi.monitoring.tally import tally
from abi.operations import MonitorConfig

CONFIG = MonitorConfig()


def numeric(values):
    values = np.asarray(values, dtype=np.float64)
    return describe("x", values, CELLS["numeric"], np.arange(len(values)))


def category(words):
    column = codes(words)
    return describe("c", column, CELLS["category"], np.arange(len(column.codes)))


def codes(words):
    values = tuple(dict.fromkeys(word for word in words if word is not None))
    place = {value: i for i, value in enumerate(values)}
    return Codes(np.array([-1 if word is None else place[word] for word in words], dtype=np.int32), values)


def text(words):
    column = codes(words)
    return describe("t", column, CELLS["text"], np.arange(len(column.codes)))


def judged(reference, column, config=CONFIG):
    return judge([reference], [tally(reference, column)], [1.0], config)[0]


def of(psi, p=0.0, weight=0.5, **fields):
    made = FeatureDrift(
        feature="x",
        weight=weight,
        psi=psi,
        statistic=0.0,
        p_value=p,
        distance=None,
        missing_before=0.0,
        missing_now=0.0,
        unseen=0.0,
        drifted=False,
    )
    return replace(made, **fields)


def test_the_index_of_two_cells():
    # shares 0.8, 0.2 -> 0.5, 0.5: -0.3 ln(0.625) + 0.3 ln(2.5) = 0.3 ln 4
    found = stability_index(np.array([80, 20]), np.array([50, 50]))
    assert found == pytest.approx(0.3 * math.log(4))
    assert stability_index(np.array([50, 50]), np.array([80, 20])) == pytest.approx(found)


def test_an_empty_cell_counts_as_half_a_row_and_one_empty_in_both_not_at_all():
    # shares 1, 0 -> 0.5, 0.5 of 100 rows: -0.5 ln 0.5 + (0.5 - 0.005) ln 100
    found = stability_index(np.array([100, 0, 0]), np.array([50, 50, 0]))
    assert found == pytest.approx(0.5 * math.log(2) + 0.495 * math.log(100))


def test_the_index_of_chance():
    # four cells of which three hold rows: 2 (1/1000 + 1/50)
    assert chance_index(np.array([500, 500, 0, 0]), np.array([25, 24, 1, 0])) == pytest.approx(2 * (0.001 + 0.02))


def test_where_nothing_moved_the_index_is_on_average_that_of_chance():
    random = np.random.default_rng(0)
    before = random.multinomial(20_000, [0.1] * 10)
    found = [stability_index(before, random.multinomial(500, [0.1] * 10)) for _ in range(400)]
    # nine degrees of freedom: mean 9 (1/500 + 1/20000), standard deviation sqrt(18)/500
    expected = 9 * (1 / 500 + 1 / 20_000)
    assert np.mean(found) == pytest.approx(expected, abs=4 * math.sqrt(18) / 500 / math.sqrt(400))


def test_holm():
    # sorted 0.01, 0.02, 0.04 times 3, 2, 1; none below one before it
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_kolmogorov_smirnov_statistic_at_the_ends_of_cells():
    # distribution functions 0.2, 0.6 against 0.5, 0.6
    statistic, p = kolmogorov_smirnov(np.array([2, 4, 4]), np.array([5, 1, 4]))
    assert statistic == pytest.approx(0.3)
    assert 0.5 < p <= 1
    assert kolmogorov_smirnov(np.array([0, 0]), np.array([1, 1])) == (0.0, 1.0)
    assert kolmogorov_smirnov(np.array([1000, 0]), np.array([0, 1000])) == (1.0, pytest.approx(0.0, abs=1e-100))


def test_homogeneity():
    # chi-square of [[30, 70], [50, 50]] is 25/3 with one degree of freedom
    assert homogeneity(np.array([30, 70]), np.array([50, 50])) == pytest.approx(math.erfc(math.sqrt(25 / 3 / 2)))
    # Fisher: of 6 rows 3 are in the first cell, all of one side: 1 / C(6, 3) on either side
    assert homogeneity(np.array([3, 0]), np.array([0, 3])) == pytest.approx(0.1)
    assert homogeneity(np.array([9, 0]), np.array([4, 0])) == 1.0
    assert homogeneity(np.array([9, 1]), np.array([0, 0])) == 1.0


def test_the_distance_is_in_standard_deviations():
    # 0 and 2 in equal parts have a standard deviation of 1; all at 2 is one away on average
    reference = numeric([0.0, 2.0] * 50)
    assert wasserstein(reference, tally(reference, np.full(10, 2.0))) == pytest.approx(1.0)
    assert wasserstein(reference, tally(reference, np.array([0.0, 2.0]))) == pytest.approx(0.0)
    assert wasserstein(reference, tally(reference, np.full(10, np.nan))) is None
    constant = numeric([3.0] * 50)
    assert wasserstein(constant, tally(constant, np.full(10, 4.0))) is None


@pytest.mark.parametrize("rows", [50, 500, 5000])
def test_rows_of_the_same_source_have_not_drifted(rows):
    random = np.random.default_rng(rows)
    values, words = random.normal(size=20_000), random.choice([f"v{i}" for i in range(100)], 20_000)
    for _ in range(20):
        assert not judged(numeric(values), random.choice(values, rows)).drifted
        assert not judged(category(list(words)), codes(list(random.choice(words, rows)))).drifted


@pytest.mark.parametrize("rows", [50, 500, 5000])
def test_rows_that_moved_have_drifted(rows):
    random = np.random.default_rng(rows)
    reference = numeric(random.normal(size=20_000))
    found = judged(reference, random.normal(1.5, size=rows))
    assert found.drifted
    assert found.distance == pytest.approx(1.5, abs=5 / math.sqrt(rows))
    words = category(["a"] * 500 + ["b"] * 500)
    assert judged(words, codes(["a"] * (rows // 10) + ["b"] * (rows - rows // 10))).drifted


def test_values_that_no_training_row_had_are_drift():
    whole = numeric([1.0, 2.0, 3.0] * 100)
    found = judged(whole, np.array([3.0] * 20 + [2.0, 1.0] * 20 + [99.0] * 40))
    assert found.unseen == 0.4
    assert found.drifted
    found = judged(category(["a", "b"] * 100), codes(["a", "b"] * 30 + ["c"] * 40))
    assert found.unseen == 0.4
    assert found.drifted
    # a constant feature has no cells but its value, what is outside, and what is missing
    assert judged(numeric([5.0] * 100), np.full(50, 6.0)).drifted
    assert not judged(numeric([5.0] * 100), np.full(50, 5.0)).drifted
    # one new value among fifty rows is no alarm
    assert not judged(category(["a", "b"] * 500), codes(["a", "b"] * 25 + ["c"])).drifted


def test_values_that_go_missing_are_drift():
    reference = numeric(np.arange(1000.0))
    values = np.arange(1000.0)
    values[::2] = np.nan
    found = judged(reference, values)
    assert (found.missing_before, found.missing_now) == (0.0, 0.5)
    assert found.drifted
    # all of them
    assert judged(reference, np.full(100, np.nan)).drifted
    assert judged(category(["a", "b"] * 100), codes([None] * 100)).drifted


def test_a_text_drifts_by_its_length_its_terms_or_none_of_them():
    random = np.random.default_rng(0)

    def texts(rows, words, length=6):
        return [" ".join(random.choice(words, length)) for _ in range(rows)]

    known = [f"w{i}" for i in range(30)]
    reference = text(texts(2000, known))
    assert not judged(reference, codes(texts(200, known))).drifted
    assert judged(reference, codes(texts(200, known, 12))).drifted
    assert judged(reference, codes(texts(200, [f"new{i}" for i in range(30)]))).drifted
    assert judged(reference, codes(texts(200, [*known, *["w3"] * 30]))).drifted
    assert judged(reference, codes(["", None] * 100)).drifted


def test_the_order_of_rows_does_not_matter_and_an_index_needs_a_small_p():
    random = np.random.default_rng(1)
    reference, values = numeric(random.normal(size=1000)), random.normal(0.8, size=300)
    there = judged(reference, values)
    again = judged(reference, values[::-1])
    assert again == replace(there, distance=again.distance)
    assert again.distance == pytest.approx(there.distance)
    assert there.drifted
    assert not judged(reference, values, CONFIG.model_copy(update={"p_value": 1e-200})).drifted
    assert not judged(reference, values, CONFIG.model_copy(update={"psi": 50.0})).drifted


def test_the_correction_grows_with_the_features_and_dates_have_no_part_in_it():
    random = np.random.default_rng(2)
    reference, values = numeric(random.normal(size=1000)), random.normal(0.5, size=100)
    alone = judged(reference, values)
    others = [numeric(random.normal(size=1000)) for _ in range(9)]
    same = random.normal(size=100)
    counts = [tally(reference, values), *(tally(o, same) for o in others)]
    together = judge([reference, *others], counts, [0.1] * 10, CONFIG)
    assert together[0].p_value == pytest.approx(10 * alone.p_value)
    dates = [replace(o, calendar=True) for o in others]
    apart = judge([reference, *dates], counts, [0.1] * 10, CONFIG)
    assert apart[0].p_value == pytest.approx(alone.p_value)
    assert not any(one.judged or one.drifted for one in apart[1:])


def test_the_level_of_the_features():
    # over a limit of 0.25: 0.5 is 2, 0.2 is 0.8
    small, large = of(0.2, weight=0.7), of(0.5, weight=0.3)
    assert data_level([small, large], CONFIG) == pytest.approx(2.0)
    # with more than 30% of the attention asked for, the second one has to move as well
    assert data_level([small, large], CONFIG.model_copy(update={"share": 0.3})) == pytest.approx(0.8)
    assert data_level([small, of(0.5, p=0.5, weight=0.3)], CONFIG) == pytest.approx(0.8)
    assert data_level([of(9.0, judged=False)], CONFIG) == 0.0
    assert data_level([of(9.0, weight=0.0)], CONFIG) == 0.0
    assert data_level([], CONFIG) == 0.0


def test_the_levels_of_predictions_and_attention():
    assert prediction_level(of(0.5, p=0.001), CONFIG) == pytest.approx(2.0)
    assert prediction_level(of(0.5, p=0.01), CONFIG) == 0.0
    assert prediction_level(None, CONFIG) == 0.0
    moved = AttentionDrift(rows=9, distance=0.3, band=0.2, before=(), now=(), drifted=True)
    assert attention_level(moved, CONFIG) == pytest.approx(2.0)
    assert attention_level(replace(moved, band=0.3), CONFIG) == 0.0
    assert attention_level(None, CONFIG) == 0.0
