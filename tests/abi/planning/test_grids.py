"""Levels of regions under a share of the multiply-accumulates, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.inputs import trunk
from abi.planning.grids import MAPS, activations, divided, sized
from abi.planning.machine import PictureSeconds
from abi.planning.plan import make_plan
from abi.problem import Grid, Schema
from abi.types import Envelope, Plan

PRICES = (0, 1, 4, 9, 16)
"""As the square of the level."""


def test_all_that_there_is_buys_every_level() -> None:
    assert divided(np.array([0.5, 0.3, 0.2]), 1.0, PRICES) == [4, 4, 4]


def test_nothing_buys_nothing_and_no_attention_neither() -> None:
    assert divided(np.array([0.5, 0.5]), 0.0, PRICES) == [0, 0]
    assert divided(np.array([0.5, 0.0]), 1.0, PRICES) == [4, 0]


def test_levels_by_hand() -> None:
    # 2 regions, half of 2 x 16 = 16 to spend. Gains per price: the first level log2(2) / 1 = 1, the second log2(3/2) / 3 = .195,
    # the third log2(4/3) / 5 = .083, the fourth log2(5/4) / 7 = .046, each times the weight.
    # .8: .8 .156 .066 .037; .2: .2 .039 .0166 .0092
    # in order: .8 (1), .2 (1), .156 (3), .066 (5), .039 (3) = 13; then .037 (7) no longer fits 3, nor .0166 (5)
    assert divided(np.array([0.8, 0.2]), 0.5, PRICES) == [3, 2]


def test_what_does_not_fit_leaves_room_for_what_does() -> None:
    # a quarter of 32 = 8: .8 (1), .2 (1), .156 (3), then .066 (5) does not fit 3 and .039 (3) does
    assert divided(np.array([0.8, 0.2]), 0.25, PRICES) == [2, 2]


def test_of_equal_weights_the_first_come_first() -> None:
    assert divided(np.array([0.25] * 4), 3 / 64, PRICES) == [1, 1, 1, 0]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_the_share_is_kept_and_more_attention_never_gets_less(share: float) -> None:
    weights = np.sort(np.random.default_rng(0).dirichlet(np.ones(16)))[::-1]
    levels = divided(weights, share, PRICES)
    assert sum(PRICES[level] for level in levels) <= share * 16 * 16
    assert levels[0] >= levels[-1]


def test_sizes_by_hand() -> None:
    grid = Grid(
        column="photo", medium="image", channels=3, height=16, width=16, rows=2, cols=2, mean=(0.0,) * 3, deviation=(1.0,) * 3
    )  # fmt: skip
    schema = Schema(target="y", task="binary", classes=("a", "b"), features=(), set_aside=(), grids=(grid,))
    (size,) = sized(schema, 4)
    assert size.parameters == trunk.trunk_parameters(3, 4)
    assert size.macs == 4 * trunk.region_macs(grid, 4)
    # two convolutions each of 4, 8 and 16 channels at 256, 64 and 16 places
    assert activations(grid, 4) == 2 * (4 * 256 + 8 * 64 + 16 * 16)
    assert size.activations == MAPS * 3584


def test_levels_that_take_longer_get_fewer_epochs_or_none_at_all(toy: Any) -> None:
    problem = toy.media().problem
    attention = toy.attention(problem, [0.1, 0.1, 0.9, 0.5, 0.3, 0.1], 0.3)

    def plan(limit: float | None) -> Plan:
        slow = replace(toy.machine, pictures=PictureSeconds(mac=0.0, map=0.0, tile=1e-6))
        return make_plan(
            attention, Envelope(train_time_s=limit), toy.config(training__epochs=12), slow,
            allocation="attention", train_rows=120, validation_rows=40,
        )  # fmt: skip

    free = plan(None)
    levels = {f.width for f in free.capacity.features if f.grid}
    assert len(levels) > 1
    whole_s = free.predicted.train_time_s
    shorter = plan(whole_s / 1.5)
    assert {f.width for f in shorter.capacity.features if f.grid} == levels
    assert shorter.execution.epochs == 8
    assert shorter.execution.steps == free.execution.steps * 8 // 12
    assert shorter.predicted.train_time_s <= whole_s / 1.5
    none = plan(whole_s / 3)
    assert len({f.width for f in none.capacity.features if f.grid}) == 1
    assert none.execution.epochs == 12
