"""Which image columns training may mirror, from the sampled training rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from abi.data.media import SAMPLED
from abi.data.reader import Reader
from abi.errors import UsageError
from abi.media.mirror import is_mirrored
from abi.problem import Grid, Problem, Schema

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.data.table import Tabular
    from abi.reading import MediaConfig


def with_mirrors(problem: Problem, table: Tabular, config: MediaConfig) -> Problem:
    """The problem with `mirrored`, and what a prediction looks at, decided for each of its image columns.

    Raises:
        UsageError: predictions are to see mirror images, and there are no images.
    """
    schema = problem.schema
    images = [grid for grid in schema.grids if grid.medium == "image"]
    if config.mirror_predictions and not images:
        msg = "Expected a column of images whose regions are features for data.media.mirror_predictions, got none: set it to false."
        raise UsageError(msg)
    if not images or config.mirror is False:
        return problem
    found = {grid.column: True for grid in images}
    if config.mirror == "auto":
        regions = [feature for feature in schema.features if feature.kind == "region"]
        chunks = Reader(problem, table).of(regions).sampled().chunks("train", SAMPLED)
        found = _told(schema, next(chunks))
    views = 2 if config.mirror_predictions else None
    grids = tuple(_decided(grid, found, views) for grid in schema.grids)
    return replace(problem, schema=replace(schema, grids=grids))


def _told(schema: Schema, rows: Columns) -> dict[str, bool]:
    axes = _axes(schema, rows)
    return {
        grid.column: is_mirrored(pictures, grid, axes)
        for grid, pictures in zip(schema.grids, rows.pictures, strict=True)
    }


def _decided(grid: Grid, found: dict[str, bool], views: int | None) -> Grid:
    mirrored = grid.medium == "image" and found[grid.column]
    return replace(grid, mirrored=mirrored, views=views if mirrored else None)


def _axes(schema: Schema, rows: Columns) -> Float64[np.ndarray, "rows axes"]:
    """The target: labels, one axis for each class that these rows have, or a standardised value."""
    assert rows.target is not None
    if schema.task == "multilabel":
        return np.asarray(rows.target, np.float64)
    if schema.task != "regression":
        seen, place = np.unique(rows.target, return_inverse=True)
        axes = np.zeros((len(rows), len(seen)))
        axes[np.arange(len(rows)), place] = 1.0
        return axes
    return np.asarray((rows.target - rows.target.mean()) / (rows.target.std() or 1.0))[:, None]
