from __future__ import annotations

import numpy as np

from abi.adapting.labels import Arrivals, majority, run_length


def test_a_label_arrives_after_its_delay_and_missing_ones_are_passed_over():
    known = np.array([True, False, True, True, True])
    one, two = Arrivals.of(known, 1), Arrivals.of(known, 2)
    assert one.rows.tolist() == [0, 2, 3, 4]
    assert one.before.tolist() == [0, 1, 1, 2, 3]
    assert two.before.tolist() == [0, 0, 1, 1, 2]
    assert one.place(1).tolist() == [-1, 0, 0, 2, 3]
    assert one.place(2).tolist() == [-1, -1, -1, 0, 2]
    assert two.place(1).tolist() == [-1, -1, 0, 0, 2]
    assert (one.until(3), one.until(5), two.until(5)) == (2, 4, 4)


def test_a_figure_per_label_stands_as_it_was_when_the_row_was_predicted():
    arrivals = Arrivals.of(np.array([True, False, True, True]), 1)
    found = arrivals.per_row(np.array([10.0, 20.0, 30.0]))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [10.0, 10.0, 20.0]


def test_no_label_at_all():
    arrivals = Arrivals.of(np.zeros(3, bool), 1)
    assert arrivals.place(1).tolist() == [-1, -1, -1]
    assert np.isnan(arrivals.per_row(np.zeros(0))).all()


def test_run_length():
    assert run_length(np.array(["a", "a", "b", "b", "b", "a"], object)).tolist() == [1, 2, 1, 2, 3, 1]
    assert run_length(np.array([], object)).tolist() == []


def test_majority_of_several_is_the_first():
    assert majority(np.array([1, 0, 0, 1, 1]), 2).tolist() == [1, 0, 0, 0, 1]
