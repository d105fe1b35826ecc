from __future__ import annotations

import numpy as np
import pytest

from abi.adapting.adwin import Adwin


def feed(detector: Adwin, values) -> list[int]:
    return [i for i, value in enumerate(values) if detector.add(float(value))]


def test_window_keeps_count_and_mean_of_what_it_was_fed():
    detector = Adwin(0.002)
    values = [0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 1] * 3
    feed(detector, values)
    assert detector.width == 33
    assert detector.mean == pytest.approx(15 / 33)


def test_variance_of_the_window_is_that_of_the_values():
    detector = Adwin(0.0)
    values = np.random.default_rng(0).random(500)
    feed(detector, values)
    whole = None
    for bucket in detector._newest_first():
        whole = bucket if whole is None else whole + bucket
    assert whole.count == 500
    assert whole.spread / whole.count == pytest.approx(values.var())


def test_a_rise_is_told_soon_and_the_window_is_what_came_after_it():
    random = np.random.default_rng(1)
    values = np.concatenate([random.random(1000) < 0.1, random.random(400) < 0.5])
    detector = Adwin(0.002)
    alarms = feed(detector, values)
    assert alarms
    assert 1000 < alarms[0] < 1150
    assert detector.width < 520
    assert detector.mean > 0.4


def test_a_fall_is_no_alarm_but_leaves_the_window():
    random = np.random.default_rng(2)
    detector = Adwin(0.002)
    assert not feed(detector, np.concatenate([random.random(1000) < 0.5, random.random(1000) < 0.05]))
    assert detector.mean < 0.1


def test_false_alarms_are_rare():
    random = np.random.default_rng(3)
    alarms = sum(bool(feed(Adwin(0.002), random.random(1000) < 0.2)) for _ in range(8))
    assert alarms <= 1


def test_delta_zero_turns_it_off():
    detector = Adwin(0.0)
    assert not feed(detector, [0.0] * 500 + [1.0] * 500)
    assert detector.width == 1000
