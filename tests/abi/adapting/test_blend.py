from __future__ import annotations

import math

import numpy as np
import pytest

from abi.adapting.blend import Blend


def test_nothing_known_is_even():
    assert Blend.even(4, 100.0, 1.0).weights.tolist() == [0.25] * 4


def test_shares_are_the_softmax_of_discounted_losses():
    blend = Blend.even(2, 1.0, 2.0)  # a loss counts half one row later
    blend.absorb(np.array([4.0, 0.0]))
    blend.absorb(np.array([0.0, 1.0]))
    # losses 4 / 2 + 0 = 2 and 0 + 1 = 1, at temperature 2
    first = math.exp(-1.0) / (math.exp(-1.0) + math.exp(-0.5))
    assert blend.losses.tolist() == [2.0, 1.0]
    assert blend.weights == pytest.approx([first, 1 - first])


def test_without_a_discount_at_temperature_one_it_is_bayes_mixture():
    blend = Blend.even(2, 1e12, 1.0)
    for chance in ((0.9, 0.5), (0.8, 0.5), (0.1, 0.5)):
        blend.absorb(-np.log(np.array(chance)))
    likelihood = np.array([0.9 * 0.8 * 0.1, 0.5**3])
    assert blend.weights == pytest.approx(likelihood / likelihood.sum())


def test_who_joins_starts_with_a_share_like_the_average():
    blend = Blend.even(2, 100.0, 1.0)
    blend.absorb(np.array([1.0, 3.0]))
    low, high = blend.weights
    blend.join(1)
    assert low / high == pytest.approx(blend.weights[0] / blend.weights[1])
    assert blend.weights[1] < blend.weights[2] < blend.weights[0]
