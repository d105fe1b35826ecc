"""Pictures and spectrograms as grids of regions: decoded to one size, and what each region shows.

A region is a feature. For scores, drift and trees it is a category: the nearest of `CODES` centres to its pixels, drawn
down to `DETAIL` x `DETAIL` (a bag of visual words, Sivic and Zisserman 2003, that keeps where each word stands). So regions
are counted like any other category, in one pass that merges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float32, Int32, Shaped, UInt8

from abi.media import audio, image
from abi.media.broken import Broken
from abi.media.cells import contents

if TYPE_CHECKING:
    import pyarrow as pa

    from abi.problem import Grid, Schema

CODES: Final = 32
DETAIL: Final = 4
STRIDE: Final = 4
"""The encoder's last stage has one cell for so many pixels, so a region's sides are multiples of it."""
LEAST_REGION: Final = 8
MOST_ROWS: Final = 8
PATCHES: Final = 16_384
THREADS: Final = 2
CHUNK_BYTES: Final = 2**28
_BLOCK: Final = 2**22
"""Pixels that are counted, or whose patches are compared with the centres, at a time."""


@dataclass(frozen=True)
class Pictures:
    """A media column in memory: 8-bit pictures, and which rows have one (the others are blank)."""

    pixels: UInt8[np.ndarray, "rows channels height width"]
    there: Bool[np.ndarray, " rows"]

    def take(self, index: Shaped[np.ndarray, " chosen"]) -> Pictures:
        """The rows that `index` (numbers or a mask) names."""
        return Pictures(self.pixels[index], self.there[index])


def cut(side: int) -> tuple[int, int]:
    """(regions along a side, length of the side) for pictures of `side` pixels: at most `MOST_ROWS` regions of equal length."""
    parts = max(1, min(MOST_ROWS, round(side / LEAST_REGION)))
    if parts > 1:
        parts = 1 << (parts.bit_length() - 1)
    length = STRIDE * math.ceil(side / parts / STRIDE)
    return parts, parts * length


def decode(cells: pa.Array, grid: Grid) -> Pictures:
    """Decode the files of a column, bytes or base64 text; one that is missing or broken is blank.

    Raises:
        DataError: the cells hold something else.
    """
    files = contents(cells, grid.column, grid.medium)
    made = blank(grid, len(files))
    pixels, there = made.pixels, made.there

    def one(i: int) -> None:
        data = files[i].as_py()
        if data is None:
            return
        try:
            pixels[i] = decode_one(data, grid)
        except Broken:
            return
        there[i] = True

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(len(files))))
    return made


def decode_one(data: bytes, grid: Grid) -> UInt8[np.ndarray, "channels height width"]:
    """One file.

    Raises:
        Broken: it cannot be read.
    """
    if grid.medium == "audio":
        assert grid.rate is not None
        assert grid.seconds is not None
        return audio.decode(data, grid.rate, grid.seconds, grid.height, grid.width)
    return image.decode(data, grid.channels, grid.height, grid.width)


def patches(
    pixels: UInt8[np.ndarray, "rows channels height width"], grid: Grid
) -> Float32[np.ndarray, "rows regions detail"]:
    """The pixels of each region, standardised by channel and averaged down to `DETAIL` x `DETAIL`."""
    rows, channels, height, width = pixels.shape
    down = min(DETAIL, height // grid.rows), min(DETAIL, width // grid.cols)
    tall, wide = height // grid.rows // down[0], width // grid.cols // down[1]
    cut = pixels.reshape(rows, channels, grid.rows, down[0], tall, grid.cols, down[1], wide)
    small = cut.mean(axis=(4, 7), dtype=np.float32)
    scale = np.array(grid.deviation, np.float32)[:, None, None, None, None]
    small = (small - np.array(grid.mean, np.float32)[:, None, None, None, None]) / scale
    return np.ascontiguousarray(small.transpose(0, 2, 4, 1, 3, 5)).reshape(rows, grid.regions, -1)


def codes(pictures: Pictures, grid: Grid) -> Int32[np.ndarray, "rows regions"]:
    """The nearest centre of each region, -1 where there is no picture."""
    centres = np.array(grid.centres, np.float32).reshape(-1, patch_size(grid))
    squares = (centres**2).sum(axis=1)
    found = np.full((len(pictures.there), grid.regions), -1, np.int32)
    step = max(1, _BLOCK // (grid.height * grid.width * grid.channels))
    for start in range(0, len(found), step):
        here = slice(start, start + step)
        parts = patches(pictures.pixels[here], grid)
        found[here] = (squares - 2 * parts @ centres.T).argmin(axis=-1)
    found[~pictures.there] = -1
    return found


def patch_size(grid: Grid) -> int:
    """Numbers that a region is compared by."""
    down = min(DETAIL, grid.height // grid.rows), min(DETAIL, grid.width // grid.cols)
    return grid.channels * down[0] * down[1]


def codebook(pictures: Pictures, grid: Grid) -> tuple[float, ...]:
    """The centres, by k-means over at most `PATCHES` regions of the rows that have a picture."""
    from sklearn.cluster import KMeans  # noqa: PLC0415 - scikit-learn takes a second to import
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    all_of = np.concatenate([patches(block, grid).reshape(-1, patch_size(grid)) for block in _known(pictures)])
    random = np.random.default_rng(0)
    some = all_of[np.sort(random.permutation(len(all_of))[:PATCHES])]
    distinct = np.unique(some, axis=0)
    if len(distinct) <= CODES:
        return tuple(map(float, distinct.ravel()))
    with threadpool_limits(1):  # sums in one order, so the same centres on every machine
        fitted = KMeans(CODES, n_init=1, max_iter=30, random_state=0).fit(some)
    return tuple(map(float, fitted.cluster_centers_.astype(np.float32).ravel()))


def moments(pictures: Pictures) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, deviation) of each channel over the rows that have a picture; a deviation is never 0."""
    levels, channels = np.arange(256.0), pictures.pixels.shape[1]
    counts = np.zeros((channels, 256), np.int64)
    for block in _known(pictures):
        for channel in range(channels):
            counts[channel] += np.bincount(block[:, channel].ravel(), minlength=256)
    pixels = counts[0].sum()
    mean = counts @ levels / pixels
    deviation = np.sqrt((counts * (levels - mean[:, None]) ** 2).sum(axis=1) / pixels)
    return tuple(map(_rounded, mean)), tuple(_rounded(max(d, 1.0)) for d in deviation)


def _known(pictures: Pictures) -> Iterator[UInt8[np.ndarray, "rows channels height width"]]:
    """The pictures that are there, a few at a time."""
    there = np.flatnonzero(pictures.there)
    step = max(1, _BLOCK // math.prod(pictures.pixels.shape[1:]))
    for start in range(0, len(there), step):
        yield pictures.pixels[there[start : start + step]]


def region_names(grid: Grid) -> tuple[str, ...]:
    """A name for each region, as `photo[1,2]` (row and column from 1) or `clip[0.10-0.21s,250-500Hz]`."""
    if grid.medium == "image":
        return tuple(f"{grid.column}[{r + 1},{c + 1}]" for r in range(grid.rows) for c in range(grid.cols))
    assert grid.rate is not None
    assert grid.seconds is not None
    edges = audio.band_edges(grid.height, grid.rate)[1:][::-1]  # high bands first
    per, step = grid.height // grid.rows, grid.seconds / grid.cols
    bands = [(edges[min((r + 1) * per, len(edges) - 1)], edges[r * per]) for r in range(grid.rows)]
    return tuple(
        f"{grid.column}[{c * step:.2f}-{(c + 1) * step:.2f}s,{low:.0f}-{high:.0f}Hz]"
        for low, high in bands
        for c in range(grid.cols)
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def blank(grid: Grid, rows: int) -> Pictures:
    """Room for so many pictures, none of them there."""
    size = (rows, grid.channels, grid.height, grid.width)
    return Pictures(np.zeros(size, np.uint8), np.zeros(rows, bool))


def picture_rows(schema: Schema) -> int:
    """Rows whose pictures are decoded at a time, so that a chunk stays within `CHUNK_BYTES`."""
    bytes_of_row = sum(grid.channels * grid.height * grid.width for grid in schema.grids)
    return max(1, CHUNK_BYTES // bytes_of_row) if bytes_of_row else CHUNK_BYTES
