"""Regions of pictures: their names, what each shows, and codes by hand."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from abi.media import grid as module
from abi.media.audio import band_edges
from abi.media.grid import (
    Pictures,
    codebook,
    codes,
    cut,
    decode,
    moments,
    patch_size,
    patches,
    picture_rows,
    region_names,
)
from abi.problem import Grid, Schema


def grid(**given: object) -> Grid:
    usual = {
        "column": "photo", "medium": "image", "channels": 1, "height": 16, "width": 16, "rows": 2, "cols": 2,
        "mean": (0.0,), "deviation": (1.0,),
    }  # fmt: skip
    return Grid(**(usual | given))  # type: ignore[arg-type]


def quarters(*values: int) -> np.ndarray:
    """A picture of 16 x 16 whose quarters are of one grey each."""
    return np.kron(np.array(values, np.uint8).reshape(2, 2), np.ones((8, 8), np.uint8))[None]


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (8, (1, 8)),
        (10, (1, 12)),
        (16, (2, 16)),
        (28, (4, 32)),
        (32, (4, 32)),
        (50, (4, 64)),
        (64, (8, 64)),
        (512, (8, 512)),
        (1, (1, 4)),
    ],
)
def test_regions_along_a_side(side: int, expected: tuple[int, int]) -> None:
    assert cut(side) == expected


def test_names_of_regions() -> None:
    assert region_names(grid()) == ("photo[1,1]", "photo[1,2]", "photo[2,1]", "photo[2,2]")
    clip = grid(column="clip", medium="audio", height=32, width=64, rate=8000, seconds=1.0)
    names = region_names(clip)
    edges = band_edges(32, 8000)
    assert names[0] == f"clip[0.00-0.50s,{edges[17]:.0f}-4000Hz]"  # peaks 17 to 32
    assert names[1].startswith("clip[0.50-1.00s,")
    assert names[2] == f"clip[0.00-0.50s,{edges[1]:.0f}-{edges[17]:.0f}Hz]"
    assert len(set(names)) == 4


def test_patches_are_means_of_blocks_standardised() -> None:
    made = grid(mean=(10.0,), deviation=(5.0,))
    found = patches(np.stack([quarters(10, 20, 30, 40)]), made)
    assert found.shape == (1, 4, 16)
    assert patch_size(made) == 16
    assert (found[0] == np.array([0, 2, 4, 6])[:, None]).all()
    picture = np.zeros((1, 1, 16, 16), np.uint8)
    picture[0, 0, :2, :2] = (4, 8), (12, 16)  # one block of 2 x 2 in the first region
    assert patches(picture, grid())[0, 0].tolist() == [10.0] + [0.0] * 15


def test_the_codebook_of_a_few_patches_is_these_and_codes_are_the_nearest() -> None:
    made = grid()
    pictures = Pictures(np.stack([quarters(0, 100, 200, 0), quarters(200, 100, 0, 0)]), np.ones(2, bool))
    centres = codebook(pictures, made)
    assert np.array(centres).reshape(3, 16)[:, 0].tolist() == [0.0, 100.0, 200.0]
    known = Grid(**{**vars(made), "centres": centres})
    assert codes(pictures, known).tolist() == [[0, 1, 2, 0], [2, 1, 0, 0]]
    others = Pictures(np.stack([quarters(49, 51, 149, 255)] * 2), np.array([True, False]))
    assert codes(others, known).tolist() == [[0, 1, 1, 2], [-1, -1, -1, -1]]


def test_of_many_patches_the_centres_are_32_the_same_each_time() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    pictures, made = Pictures(pixels, np.ones(40, bool)), grid(mean=(127.0,), deviation=(74.0,))
    centres = codebook(pictures, made)
    assert len(centres) == 32 * 16
    assert centres == codebook(pictures, made)
    found = codes(pictures, Grid(**{**vars(made), "centres": centres}))
    exact = ((patches(pixels, made)[:, :, None] - np.array(centres).reshape(32, 16)) ** 2).sum(-1)
    assert (np.take_along_axis(exact, found[:, :, None], 2)[:, :, 0] <= exact.min(2) + 1e-4).all()


def test_moments_take_little_more_memory_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 2**16)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (64, 3, 64, 64)).astype(np.uint8) // np.array([1, 2, 7], np.uint8)[:, None, None]
    there = random.random(64) < 0.8
    tracemalloc.start()
    mean, deviation = moments(Pictures(pixels, there))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    known = pixels[there].astype(np.float64)
    assert mean == tuple(float(f"{x:.6g}") for x in known.mean(axis=(0, 2, 3)))
    assert deviation == tuple(float(f"{x:.6g}") for x in known.std(axis=(0, 2, 3)))
    assert peak < pixels.nbytes


def test_moments_are_of_the_pictures_that_are_there() -> None:
    pixels = np.stack([np.full((1, 4, 4), 10), np.full((1, 4, 4), 30), np.full((1, 4, 4), 255)]).astype(np.uint8)
    assert moments(Pictures(pixels, np.array([True, True, False]))) == ((20.0,), (10.0,))
    assert moments(Pictures(pixels[:1], np.ones(1, bool))) == ((10.0,), (1.0,))  # never 0


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_file_that_is_missing_or_broken_is_blank() -> None:
    good = quarters(10, 20, 30, 40)
    found = decode(pa.array([_png(good[0]), None, b"", b"words", _png(good[0])[:60]]), grid())
    assert found.there.tolist() == [True, False, False, False, False]
    assert (found.pixels[0] == good).all()
    assert not found.pixels[1:].any()


def test_pictures_decoded_at_a_time_stay_within_a_quarter_of_a_gigabyte() -> None:
    schema = Schema(
        target="y", task="binary", classes=("a", "b"), features=(), set_aside=(), grids=(grid(height=512, width=512),)
    )
    assert picture_rows(schema) == 2**28 // 2**18
