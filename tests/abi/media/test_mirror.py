"""Whether left and right mean something for the target is found out from pictures alone."""

from __future__ import annotations

import numpy as np
import pytest

from abi.media.grid import Pictures
from abi.media.mirror import is_mirrored
from abi.problem import Grid

GRID = Grid(
    column="p", medium="image", channels=1, height=16, width=16, rows=2, cols=2, mean=(100.0,), deviation=(50.0,)
)


def _pictures(kind: str, rows: int = 400) -> tuple[Pictures, np.ndarray]:
    """Noise in which brightness, or a bright left or right half, tells one of two classes; or nothing does."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, rows)
    pixels = random.integers(60, 140, (rows, 1, 16, 16))
    if kind == "brightness":
        pixels += 60 * label[:, None, None, None]
    elif kind == "side":
        pixels[label == 0, :, :, :8] += 60
        pixels[label == 1, :, :, 8:] += 60
    return Pictures(pixels.astype(np.uint8), np.ones(rows, bool)), np.eye(2)[label]


@pytest.mark.parametrize(("kind", "mirrored"), [("brightness", True), ("side", False), ("nothing", False)])
def test_it_is_found_out(kind: str, mirrored: bool) -> None:
    pictures, axes = _pictures(kind)
    assert is_mirrored(pictures, GRID, axes) is mirrored


def test_of_few_pictures_nothing_is_said() -> None:
    pictures, axes = _pictures("brightness", 90)
    assert not is_mirrored(pictures, GRID, axes)


def test_rows_without_a_picture_do_not_count() -> None:
    pictures, axes = _pictures("brightness", 150)
    assert is_mirrored(pictures, GRID, axes)
    pictures.there[60:] = False
    assert not is_mirrored(pictures, GRID, axes)
