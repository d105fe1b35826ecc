from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from abi.adapting.prequential import contender, losses, points, usual


@pytest.fixture
def classes(brook):
    """u d d u None d, after 100 rows that are half u and half d."""
    before = ["u", "d"] * 50
    labels = [*before, "u", "d", "d", "u", None, "d", *["u"] * 10]
    return brook.open(pd.DataFrame({"x": np.arange(len(labels)) * 0.37 % 1, "y": labels}), brook.config())[0]


def test_a_wrong_class_costs_one_and_a_row_without_a_label_nothing(classes):
    says = np.zeros(classes.rows)  # "u", the first label, everywhere
    found = losses(classes, says)[100:106]
    assert found[:4].tolist() == [0, 1, 1, 0]
    assert math.isnan(found[4])
    assert found[5] == 1


def test_the_majority_is_of_labels_that_arrived(classes):
    said = usual(classes)
    assert said[0] == -1
    assert said[1] == 0  # one u
    assert said[102] == 0  # 51 u, 51 d: of several the first
    assert said[103] == 1  # 51 u, 52 d


def test_figures_by_hand():
    lost = np.array([1.0, 0.0, np.nan, 1.0, 1.0, 0.0])
    found = contender("x", lost, 1, 2, np.array([2, 3, 4, 6]), numeric=False)
    assert found.overall == pytest.approx(0.5)  # of 0, 1, 1, 0
    # after row 2: 0 | after 3: 0 (the label is missing) | after 4: 0 and 1 | after 6: 1 and 0
    assert found.curve == pytest.approx((1.0, 1.0, 0.5, 0.5))
    assert found.window == pytest.approx(0.5)


def test_rows_without_labels_at_either_end_say_nothing():
    nothing = [np.nan] * 4
    lost = np.array([*nothing, 1.0, 0.0, 0.0, 1.0, *nothing])
    found = contender("x", lost, 0, 3, np.array([2, 5, 8, 12]), numeric=False)
    assert found.window == pytest.approx(2 / 3, abs=1e-6)  # of the last three that have a label
    assert found.curve == pytest.approx((0.0, 0.0, 2 / 3, 2 / 3))  # level before the first one


def test_of_numbers_it_is_the_root_of_the_mean_square():
    found = contender("x", np.array([9.0, 16.0]), 0, 10, np.array([1, 2]), numeric=True)
    assert found.overall == pytest.approx(math.sqrt(12.5))
    assert found.curve[0] == pytest.approx(3.0)


def test_points_end_at_the_last_row_and_are_few():
    assert points(10, 20, 100).tolist() == [20]
    many = points(100, 50_000, 1_000)
    assert (many[0], many[-1]) == (200, 50_000)
    assert len(many) == 200
