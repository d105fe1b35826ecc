"""What the convolutions of `abi.inputs.sequence` consist of and cost; without torch, which counting needs not."""

from __future__ import annotations

from typing import Final

WINDOWS: Final = (4, 3, 2)
"""Words of a window; the longest come first where there are few channels."""
LEAST_COLUMNS, MOST_COLUMNS = 8, 32


def channels(width: int) -> dict[int, int]:
    """Words of a window -> its channels; windows without any are left out."""
    whole, more = divmod(width, len(WINDOWS))
    found = {window: whole + (place < more) for place, window in enumerate(WINDOWS)}
    return {window: count for window, count in found.items() if count}


def columns(width: int) -> int:
    """Numbers of a word in the table."""
    return min(MOST_COLUMNS, max(LEAST_COLUMNS, 2 * width))


def parameters(width: int, rows: int) -> int:
    """Trainable parameters of one feature: the table, and the convolutions with their biases."""
    return rows * columns(width) + sum((w * columns(width) + 1) * c for w, c in channels(width).items())


def macs(width: int, length: int) -> int:
    """Multiply-accumulates of one text."""
    return sum(w * columns(width) * c * (length - w + 1) for w, c in channels(width).items())


def activations(width: int, length: int) -> int:
    """Numbers that one text leaves for the backward pass: its words twice; convolved, rectified, masked, in passing."""
    return length * (2 * columns(width) + 4 * width)
