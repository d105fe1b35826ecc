"""What the regions of a picture take at different levels: measured steps beside those that the planner expects.

    python benchmarks/regions.py

One encoder per size of picture, base and pattern of levels; forward and backward, the least of three steps after one that
is not counted, per picture. The planner's constants are measured first, as a run does. Prints a table; run it alone.
"""

from __future__ import annotations

import statistics
import time
from typing import Final

import torch

from abi.cores import cores
from abi.inputs.region import RegionEncoder
from abi.inputs.trunk import region_macs
from abi.media.grid import blank
from abi.planning.cost import BACKWARD, map_numbers
from abi.planning.grids import MAPS, activations
from abi.planning.measure import measure_pictures
from abi.problem import Grid

PATTERNS: Final = {
    "whole": (4,),
    "half": (2,),
    "two levels": (4, 2),
    "four levels": (4, 3, 2, 1),
    "gaps": (4, 0, 2, 0),
    "low": (1, 2, 1, 0),
}
SIZES: Final = ((32, 4, 64), (64, 4, 32), (64, 8, 32))
"""Pixels of a side, regions along it, pictures in a step."""
BASES: Final = (8, 16, 24)


def measure(grid: Grid, base: int, levels: list[int], pictures: int) -> float:
    """Seconds per picture."""
    encoder = RegionEncoder(grid, base, levels)
    cells = encoder.encode(blank(grid, pictures))
    times = []
    for _ in range(4):
        start = time.perf_counter()
        encoder(cells).square().mean().backward()
        times.append(time.perf_counter() - start)
    return min(times[1:]) / pictures


def main() -> None:
    """Measure all of them."""
    threads = cores()
    torch.set_num_threads(threads)
    known = measure_pictures("cpu", threads)
    ratios = []
    print(
        f"{'pixels':>6} {'regions':>7} {'base':>4}  {'levels':<12} {'ms':>7} {'of whole':>8} {'MACs':>6} {'expected':>8}"
    )
    for side, along, pictures in SIZES:
        grid = Grid(
            column="", medium="image", channels=3, height=side, width=side, rows=along, cols=along,
            mean=(128.0,) * 3, deviation=(64.0,) * 3,
        )  # fmt: skip
        for base in BASES:
            whole_s, whole_macs = 0.0, region_macs(grid, base) * grid.regions
            for name, pattern in PATTERNS.items():
                levels = list(pattern) * (grid.regions // len(pattern))
                seconds = measure(grid, base, levels, pictures)
                whole_s = whole_s or seconds
                macs = sum(region_macs(grid, base, level) for level in levels)
                maps, tiles = map_numbers(MAPS * activations(grid, base), levels)
                expected = BACKWARD * (known.mac * macs + known.map * maps + known.tile * tiles)
                ratios.append(expected / seconds)
                print(
                    f"{side:>6} {grid.regions:>7} {base:>4}  {name:<12} {1e3 * seconds:>7.3f} {seconds / whole_s:>8.2f} "
                    f"{macs / whole_macs:>6.0%} {ratios[-1]:>7.2f}x"
                )
    wrong = sorted(abs(ratio - 1) for ratio in ratios)
    print(
        f"expected over measured: median error {statistics.median(wrong):.0%}, nine of ten within {wrong[int(0.9 * len(wrong))]:.0%}"
    )


if __name__ == "__main__":
    main()
