"""Pictures in a plan: how broad the encoder of a media column is, and how much of it each region gets.

The regions of a picture share their weights, so parameters cannot be divided over them; multiply-accumulates can. An even
split computes every channel everywhere. Attention's split has a share of that (`attention.compute`), divided over regions in
quarters of the channels: the next quarter goes where sum_i a_i log2(1 + l_i) grows most for its price, which rises with the
level, so that this is optimal up to the last quarter (Fox 1966).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float64

from abi.families.sizes import outputs
from abi.inputs import trunk
from abi.problem import Grid, Schema
from abi.types import Attention, Capacity, GridCapacity, LayerSplit
from abi.units import show_count

MAPS: Final = 3
"""A convolution's result, it normalised, and it rectified."""


def sized(schema: Schema, base: int) -> tuple[GridCapacity, ...]:
    """The size of each media column's encoder with `base` channels in its first stage."""
    return tuple(
        GridCapacity(
            column=grid.column,
            base=base,
            parameters=trunk.trunk_parameters(grid.channels, base),
            macs=trunk.region_macs(grid, base) * grid.regions,
            activations=MAPS * activations(grid, base),
            views=grid.views,
        )
        for grid in schema.grids
    )


def activations(grid: Grid, base: int) -> int:
    """Numbers that the convolutions of one picture give."""
    pixels = grid.height * grid.width
    return sum(2 * times * base * pixels // 4**stage for stage, times in enumerate(trunk.STAGES))


def with_grids(capacity: Capacity, schema: Schema, base: int) -> Capacity:
    """The same with the encoders of those media columns of which some region was given something."""
    used = {given.grid for given in capacity.features if given.width}
    grids = tuple(size for size in sized(schema, base) if size.column in used)
    if not grids:
        return capacity
    more, split = sum(grid.parameters for grid in grids), capacity.layers
    width = sum(trunk.STAGES[-1] * grid.base for grid in grids)
    above = {"middle": split.middle, "output": split.output + capacity.members * width * outputs(schema)}
    if capacity.blocks:
        above = {"middle": split.middle + width * (capacity.members + capacity.block_width), "output": split.output}
    layers = LayerSplit(feature_extraction=split.feature_extraction + more, **above)
    return replace(capacity, grids=grids, layers=layers)


def grid_macs(capacity: Capacity) -> int:
    """Multiply-accumulates of one row in the encoders of its pictures, when it is predicted."""
    return sum(size.predicted_macs for size in capacity.grids)


def levelled(capacity: Capacity, attention: Attention, compute: float) -> Capacity:
    """The same with `compute` of each column's multiply-accumulates, where attention is.

    A region that was given nothing stays so.
    """
    schema = attention.scores.problem.schema
    features, sizes = list(capacity.features), list(capacity.grids)
    grids = {grid.column: grid for grid in schema.grids}
    for number, size in enumerate(capacity.grids):
        grid = grids[size.column]
        places = [i for i, f in enumerate(schema.features) if f.column == grid.column and f.kind == "region"]
        weights = np.array([attention.weights[i].weight if features[i].width else 0.0 for i in places])
        levels = divided(weights, compute, [trunk.region_macs(grid, size.base, n) for n in range(trunk.LEVELS + 1)])
        for i, level in zip(places, levels, strict=True):
            ratio = attention.weights[i].weight * len(attention.weights)
            macs = trunk.region_macs(grid, size.base, level)
            features[i] = replace(features[i], width=level * size.base, reason=_reason(level, ratio, macs))
        sizes[number] = replace(
            size,
            macs=sum(trunk.region_macs(grid, size.base, level) for level in levels),
            parameters=trunk.trunk_parameters(grid.channels, size.base, levels),
        )
    split = capacity.layers
    more = sum(s.parameters for s in sizes) - sum(s.parameters for s in capacity.grids)
    layers = replace(split, feature_extraction=split.feature_extraction + more)
    return replace(capacity, features=tuple(features), grids=tuple(sizes), layers=layers)


def divided(weights: Float64[np.ndarray, " regions"], share: float, prices: Sequence[int]) -> list[int]:
    """A level for each region: `prices` are what each level costs, `share` that of the top level everywhere may be spent."""
    levels, left = [0] * len(weights), share * prices[-1] * len(weights)

    def rung(i: int) -> tuple[float, int, int]:
        level = levels[i]
        gain = weights[i] * math.log2((2 + level) / (1 + level))
        price = prices[level + 1] - prices[level]
        return -gain / price, i, price

    heap = [rung(i) for i in range(len(weights)) if weights[i] > 0]
    heapq.heapify(heap)
    while heap:
        _, i, price = heapq.heappop(heap)
        if price > left:
            continue
        left, levels[i] = left - price, levels[i] + 1
        if levels[i] + 1 < len(prices):
            heapq.heappush(heap, rung(i))
    return levels


def _reason(level: int, ratio: float, macs: int) -> str:
    if not level:
        return f"{ratio:.1f}x the even share of attention: what it would cost brings more in other regions"
    part = "all" if level == trunk.LEVELS else f"{level} of {trunk.LEVELS} parts"
    return f"{ratio:.1f}x the even share of attention: {part} of the channels, {show_count(macs)} multiply-accumulates"
