"""Many numeric columns to bins at once: a grid of equal cells per column names the bin of nearly every value.

A value's cell, floor((x - lowest) * scale) held between the ends of the grid, never decreases with x, also not by
rounding. So where no edge shares a cell with x, the edges in lower cells lie below x and all others above it: the cell
alone tells the bin, exactly as a search among the edges would. The few values in cells that hold an edge are compared
with that edge. So a value costs the same five steps however many edges there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64

from abi.scoring.edges import NumericBins

CELLS = 4096
"""Cells per column, fewer where that many columns would fill more than `TABLE_CELLS`."""
TABLE_CELLS = 2**22
FEW_EDGES = 8
"""Up to so many edges, comparing with each of them is as fast."""
CROWDED = 0.1
"""A column with a larger share of its bins' middles beside an edge is compared with all edges."""


@dataclass(frozen=True)
class Grid:
    """The grids of some columns.

    Attributes:
        lowest: where a grid starts.
        scale: its cells per unit.
        table: the bin of each cell; where it holds an edge, and in cell 0, where NaN is sent, ~ of the least bin.
    """

    lowest: Float64[np.ndarray, "columns 1"]
    scale: Float64[np.ndarray, "columns 1"]
    table: Int64[np.ndarray, "columns cells"]

    def cells(self, values: Float64[np.ndarray, "columns rows"]) -> Int32[np.ndarray, "columns rows"]:
        """1 to cells - 1; 0 or less for NaN, as the processor has it."""
        with np.errstate(over="ignore", invalid="ignore"):
            along = values - self.lowest
            along *= self.scale
            np.clip(along, 1.0, self.table.shape[1] - 1.0, out=along)
            cells: Int32[np.ndarray, "columns rows"] = along.astype(np.int32)
        return cells


@dataclass(frozen=True)
class Block:
    """Numeric columns that are binned together, into one array of counts that has a run of `stride` cells per column.

    Attributes:
        features: where they stand among all features.
        places: where they stand among the numeric features, in rising order.
        edges: of each column, padded with inf.
        missing: the bin of each column for missing values.
        step: cells of the counts per bin.
        grid: whose table names the first cell of the counts; None where values are compared with all edges.
    """

    features: tuple[int, ...]
    places: tuple[int, ...]
    edges: Float64[np.ndarray, "columns edges"]
    missing: Int64[np.ndarray, " columns"]
    step: int
    grid: Grid | None

    @property
    def stride(self) -> int:
        """Cells of the counts per column: those of the column that has most bins."""
        return int(self.edges.shape[1] + 1) * self.step

    def codes(self, values: Float64[np.ndarray, "columns rows"]) -> Int64[np.ndarray, "columns rows"]:
        """Bin of each value, the one that `NumericBins.codes` finds."""
        return self.cells(values) % self.stride // self.step

    def cells(self, values: Float64[np.ndarray, "columns rows"]) -> Int64[np.ndarray, "columns rows"]:
        """First cell of the counts for each value: column * stride + bin * step."""
        if self.grid is None:
            return self._compared(values)
        table = self.grid.table
        places = self.grid.cells(values)
        if len(values) > 1:
            places += np.arange(0, table.size, table.shape[1], dtype=np.int32)[:, None]
        # clipping sends any NaN to the first cell
        cells = table.reshape(-1).take(places, mode="clip")
        flat = cells.reshape(-1)
        near = np.flatnonzero(flat < 0)
        column, row = np.divmod(near, values.shape[1])
        flat[near] = self._near(~flat[near], column, values[column, row])
        return cells

    def _near(
        self,
        cells: Int64[np.ndarray, " near"],
        column: Int64[np.ndarray, " near"],
        values: Float64[np.ndarray, " near"],
    ) -> Int64[np.ndarray, " near"]:
        """Go up the edges in the cell of each value until it is below one; NaN is below none and goes nowhere."""
        gone = np.isnan(values)
        cells[gone] = (self.missing * self.step + np.arange(len(self.missing)) * self.stride)[column[gone]]
        left = np.flatnonzero(~gone)
        while len(left):
            # the bin's number and its column's place, since stride is a whole number of steps
            above = self.edges.reshape(-1)[cells[left] // self.step - column[left]] < values[left]
            left = left[above]
            cells[left] += self.step
        return cells

    def _compared(self, values: Float64[np.ndarray, "columns rows"]) -> Int64[np.ndarray, "columns rows"]:
        within = np.zeros(values.shape, np.int16)
        met = np.empty(values.shape, bool)
        for edge in self.edges.T:
            np.less_equal(values, edge[:, None], out=met)
            within += met
        # NaN is within no edge; the padding counts as edges of any other value
        codes: Int64[np.ndarray, "columns rows"] = np.minimum(self.edges.shape[1] - within, self.missing[:, None])
        codes *= self.step
        codes += np.arange(0, len(values) * self.stride, self.stride)[:, None]
        return codes


def blocks_of(features: Sequence[NumericBins | None], step: int, most: int) -> list[Block]:
    """The blocks of all numeric features; None stands for a feature of another kind.

    Args:
        features: bins of each feature, in schema order.
        step: cells of the counts per bin.
        most: columns per block.
    """
    kept = [(position, bins) for position, bins in enumerate(features) if bins is not None]
    cells = max(256, min(CELLS, TABLE_CELLS // max(1, len(kept))))
    gridded = [_grid(bins, cells) for _, bins in kept]
    found = []
    for on_grid in (True, False):
        chosen = [place for place, grid in enumerate(gridded) if (grid is not None) == on_grid]
        for start in range(0, len(chosen), most):
            places = chosen[start : start + most]
            grids = [grid for place in places if (grid := gridded[place]) is not None]
            found.append(_block(places, [kept[place] for place in places], grids, step))
    return found


def _block(places: list[int], kept: list[tuple[int, NumericBins]], grids: list[Grid], step: int) -> Block:
    edges = np.full((len(kept), max(len(bins.edges) for _, bins in kept)), np.inf)
    for row, (_, bins) in zip(edges, kept, strict=True):
        row[: len(bins.edges)] = bins.edges
    grid = None
    if grids:
        codes = np.concatenate([one.table for one in grids])
        first = np.arange(len(grids))[:, None] * (edges.shape[1] + 1)
        grid = Grid(
            np.concatenate([one.lowest for one in grids]),
            np.concatenate([one.scale for one in grids]),
            np.where(codes < 0, ~((~codes + first) * step), (codes + first) * step),
        )
    missing = np.array([len(bins.edges) for _, bins in kept])
    return Block(tuple(position for position, _ in kept), tuple(places), edges, missing, step, grid)


def _grid(bins: NumericBins, cells: int) -> Grid | None:
    """The grid of one column with bins in its table, or None where it does not pay or cannot be made."""
    edges = bins.edges[None, :-1]  # the last is inf
    if edges.size <= FEW_EDGES:
        return None
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        # no edge in the first and last cell, where all values beyond the edges go
        scale = (cells - 4) / (edges[:, -1:] - edges[:, :1])
        lowest = edges[:, :1] - 2.5 / scale
    if not (np.isfinite(scale) & np.isfinite(lowest) & (scale > 0)).all():
        return None
    grid = Grid(lowest, scale, np.zeros((1, cells), np.int64))
    held = grid.cells(edges)[0]
    below = np.searchsorted(held, np.arange(cells))
    grid.table[0] = below
    grid.table[0, held] = ~below[held]
    grid.table[0, 0] = ~0
    # a column of few values has all of them at edges
    beside = grid.table[0, grid.cells(bins.levels[None, :-1])[0]] < 0
    return None if beside.mean() > CROWDED else grid
