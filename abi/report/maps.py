"""Heat maps: attention over a picture or a spectrogram."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from jaxtyping import Float64, UInt8

from abi.media.audio import band_edges
from abi.problem import Grid
from abi.report.charts import svg

HEAT: Final = (0.88, 0.29, 0.07)
"""Red, green, blue: read over light grey and over dark."""
STRONGEST: Final = 0.8
"""Opacity where attention is largest, so that the picture shows through."""
PICTURE_IN: Final = (3.3, 2.75)
SOUND_IN: Final = (4.7, 2.5)
_BAR: Final = 64
_MOST_TICKS: Final = 9


def attention_map(
    name: str,
    alt: str,
    mean: UInt8[np.ndarray, "height width"] | None,
    attention: Float64[np.ndarray, "rows cols"],
    grid: Grid,
) -> str:
    """The regions' attention over the mean picture, with the scale beside it."""
    (rows, cols), top = attention.shape, top_of(attention)

    def draw(figure: Any) -> None:
        axes, bar = figure.subplots(1, 2, width_ratios=[16, 1])
        whole = (0, cols, rows, 0)
        if mean is not None:
            axes.imshow(_grey(mean), extent=whole, interpolation="none", aspect="auto")
        axes.imshow(heat(attention, top), extent=whole, interpolation="none", aspect="auto")
        axes.grid(visible=False)
        if grid.medium == "audio":
            hertz, seconds = sound_axes(grid)
            axes.set_yticks(range(rows + 1), hertz)
            axes.set_xticks(range(cols + 1), seconds)
            axes.set_xlabel("time (s)")
            axes.set_ylabel("frequency (Hz)")
        else:
            axes.set_box_aspect(grid.height / grid.width)
            axes.set_yticks(np.arange(rows) + 0.5, [str(r + 1) for r in range(rows)])
            axes.set_xticks(np.arange(cols) + 0.5, [str(c + 1) for c in range(cols)])
            axes.tick_params(length=0)
        _scale(bar, top, None if grid.medium == "audio" else grid.height / grid.width * 16)

    return svg(name, alt, SOUND_IN if grid.medium == "audio" else PICTURE_IN, draw)


def heat(attention: Float64[np.ndarray, "rows cols"], top: float) -> Float64[np.ndarray, "rows cols 4"]:
    """One colour, the more opaque the nearer to `top`; nothing where there is no number."""
    known = np.nan_to_num(attention)
    alpha = STRONGEST * known / top
    return np.dstack([*(np.full(known.shape, part) for part in HEAT), alpha])


def sound_axes(grid: Grid) -> tuple[list[str], list[str]]:
    """(hertz at the edges of the rows of regions, from above; seconds at the edges of their columns) of a spectrogram."""
    assert grid.rate is not None
    assert grid.seconds is not None
    edges = band_edges(grid.height, grid.rate)[1:][::-1]
    per = grid.height // grid.rows
    hertz = [edges[min(r * per, len(edges) - 1)] for r in range(grid.rows + 1)]
    return [f"{edge:,.0f}" for edge in hertz], [f"{grid.seconds * c / grid.cols:.2f}" for c in range(grid.cols + 1)]


def top_of(attention: Float64[np.ndarray, "rows cols"]) -> float:
    """The end of the scale: the largest, but at least twice the mean, so that an even split does not glow."""
    return float(max(np.nanmax(attention), 2 * np.nanmean(attention))) or 1.0


def _grey(mean: UInt8[np.ndarray, "height width"]) -> Float64[np.ndarray, "height width 3"]:
    """The picture with its whole range of light: a mean has little."""
    low, high = float(mean.min()), float(mean.max())
    stretched = (mean - low) / (high - low or 1.0)
    return np.dstack([0.15 + 0.8 * stretched] * 3)


def _scale(bar: Any, top: float, aspect: float | None) -> None:
    levels = np.linspace(0, top, _BAR)[:, None]
    bar.imshow(np.full((1, 1, 3), 0.55), extent=(0, 1, 0, top), interpolation="none", aspect="auto")
    bar.imshow(heat(levels, top)[::-1], extent=(0, 1, 0, top), interpolation="none", aspect="auto")
    bar.grid(visible=False)
    bar.set_xticks([])
    bar.yaxis.tick_right()
    bar.set_yticks([0, top / 2, top], [f"{100 * v:.3g}%" for v in (0.0, top / 2, top)])
    for side in ("top", "right", "bottom", "left"):
        bar.spines[side].set_visible(False)
    if aspect is not None:
        bar.set_box_aspect(aspect)
