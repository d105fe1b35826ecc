"""Whether a mirrored picture is as good as the picture: then training may mirror it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float64

from abi.media.grid import Pictures, patches

if TYPE_CHECKING:
    from abi.problem import Grid

LEAST_ROWS: Final = 100
RIDGE: Final = 0.1
"""Of the mean squared feature, times the rows."""
KEPT: Final = 0.8
"""Share of what the linear model tells beyond chance that it still has to tell of mirrored pictures."""
ERRORS: Final = 2.0
"""What it tells beyond chance must be more than so many standard errors, or nothing can be said."""


def is_mirrored(pictures: Pictures, grid: Grid, axes: Float64[np.ndarray, "rows axes"]) -> bool:
    """Whether a linear model that was fitted to half the pictures tells the target as well of the others' mirror images.

    Digits and letters turn into others when mirrored, most photographs do not. Ridge regression on the regions' coarse pixels
    is a poor model, but whether it does worse on mirrored pictures shows what left and right mean for the target.

    Args:
        pictures: of some rows.
        grid: sizes and moments.
        axes: the target of these rows, one-hot or standardised.
    """
    there = np.flatnonzero(pictures.there)
    if grid.medium != "image" or len(there) < LEAST_ROWS:
        return False
    chosen = np.random.default_rng(0).permutation(there)
    fitted, judged = chosen[: len(there) // 2], chosen[len(there) // 2 :]
    plain = patches(pictures.pixels, grid).reshape(len(pictures.there), -1).astype(np.float64)
    turned = patches(pictures.pixels[..., ::-1], grid).reshape(len(pictures.there), -1).astype(np.float64)
    mean, base = plain[fitted].mean(axis=0), axes[fitted].mean(axis=0)
    x, y = plain[fitted] - mean, axes[fitted] - base
    penalty = RIDGE * len(x) * float((x**2).mean())
    if len(x) < x.shape[1]:  # the smaller of the two systems
        weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), y)
    else:
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    told, told_turned = (_told((features[judged] - mean) @ weights, axes[judged], base) for features in (plain, turned))
    noise = ERRORS / np.sqrt(len(judged))
    return bool(told > noise and told_turned >= KEPT * told)


def _told(found: Float64[np.ndarray, "rows axes"], axes: Float64[np.ndarray, "rows axes"], base: np.ndarray) -> float:
    """Correlation of what is predicted with the target, over all axes."""
    centred = axes - base
    norms = float(np.linalg.norm(found) * np.linalg.norm(centred))
    return float((found * centred).sum()) / norms if norms > 0 else 0.0
