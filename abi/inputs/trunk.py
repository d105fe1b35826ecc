"""What a convolutional trunk of `abi.inputs.region` consists of and costs; without torch, which counting needs not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from abi.problem import Grid

LEVELS: Final = 4
STAGES: Final = (1, 2, 4)
"""Channels of each stage, in units of the base."""
BASES: Final = (4, 8, 12, 16, 24, 32, 48)
"""Channels of the first stage that a plan chooses from: multiples of `LEVELS`."""
KERNEL: Final = 9
NORMAL: Final = 2
"""Parameters of normalisation, per channel."""


def trunk_parameters(channels: int, base: int, levels: Iterable[int] = (LEVELS,)) -> int:
    """Trainable parameters of a column's trunk, for pictures of so many channels and regions at these levels."""
    used = sorted({level for level in levels if level})
    top = max(used, default=0)
    return sum(
        KERNEL * (a if place == 0 else a * top // LEVELS) * (b * top // LEVELS)
        + NORMAL * sum(b * level // LEVELS for level in used)
        for place, (_, a, b) in enumerate(convolutions(channels, base))
    )


def region_macs(grid: Grid, base: int, level: int = LEVELS) -> int:
    """Multiply-accumulates of one region at that level."""
    pixels = grid.height * grid.width // grid.regions
    return sum(
        KERNEL * (a if place == 0 else a * level // LEVELS) * (b * level // LEVELS) * pixels // 4**stage
        for place, (stage, a, b) in enumerate(convolutions(grid.channels, base))
    )


def convolutions(channels: int, base: int) -> list[tuple[int, int, int]]:
    """(stage, channels in, channels out)."""
    found, before = [], channels
    for stage, times in enumerate(STAGES):
        found += [(stage, before, times * base), (stage, times * base, times * base)]
        before = times * base
    return found
