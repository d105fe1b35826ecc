"""Sizes that the hardware likes."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from abi.planning.backbone import BLOCK_WIDTHS, backbones_of, few_members
from abi.planning.recipe import recipe

ROWS = (500, 4_000, 10_000, 30_000, 100_000)


@pytest.mark.parametrize(("rows", "task"), list(product(ROWS, ("binary", "regression", "multiclass"))))
def test_layers_are_multiples_of_sixteen_and_all_members_together_of_sixtyfour(toy: Any, rows: int, task: Any) -> None:
    settings = toy.config(training__members=None, training__block_width=None, training__epochs=None)
    for config in (settings, few_members(settings)):
        start = recipe(rows, task, config.training)
        sizes = backbones_of(start)
        assert start.block_width % 64 == 0  # what is taken where the envelope allows it
        assert all(size.width % 16 == 0 for size in sizes)
        whole = [size for size in sizes if size.members == start.members]
        assert all(size.members * size.width % 64 == 0 for size in whole)


def test_widths_that_are_tried_are_multiples_of_sixteen() -> None:
    assert [width % 16 for width in BLOCK_WIDTHS] == [0] * len(BLOCK_WIDTHS)
    assert list(BLOCK_WIDTHS) == sorted(BLOCK_WIDTHS, reverse=True)
