from __future__ import annotations

import numpy as np
import pytest

from abi.adapting.experts import stay_share
from abi.families.mixing import changed, padded, persistence


def test_persistence_repeats_and_spreads_the_rest():
    found = persistence(np.array([1, -1]), 0.7, (0, 1, 2), 4)
    assert found[0] == pytest.approx([0.1, 0.8, 0.1, 0.0])
    assert found[1] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0])


def test_persistence_names_a_class_that_no_model_knows():
    assert persistence(np.array([3]), 0.7, (0, 1), 4)[0].argmax() == 3


def test_persistence_of_numbers_is_the_number():
    assert persistence(np.array([2.5]), 1.0, (), 0).tolist() == [2.5]


def test_stay_share_counts_one_more_of_each():
    assert stay_share(np.array([0, 0, 1, 1])) == pytest.approx(3 / 5)
    assert stay_share(np.array([], np.int64)) == 0.5


def test_trees_of_the_change_by_hand():
    said = np.array([[0.4, 0.6], [0.4, 0.6]])
    believed = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    found = changed(said, np.array([0, -1]), believed)
    assert found[0] == pytest.approx([0.6, 0.4 * 0.6, 0.4 * 0.4])
    assert found[1] == pytest.approx(believed[1])


def test_a_change_of_numbers_is_added_to_the_last_one():
    assert changed(np.array([0.5, 0.5]), np.array([2.0, np.nan]), None).tolist() == [2.5, 0.5]


def test_classes_that_a_model_does_not_know_get_nothing():
    found = padded(np.array([[0.2, 0.5, 0.3]]), (2, 0, 4), 4)  # its last class stands in no row
    assert found.tolist() == [[0.5, 0.0, 0.2, 0.0]]
