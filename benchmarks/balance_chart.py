"""Curves of quality against parameters, one panel per set, as one SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from balance_summary import curve

COLOURS = {"uniform": "#7a7a7a", "abi": "#0b6e99", "top-k": "#c2571a", "mixed": "#8a5aa8", "magnitude": "#4b8b3b"}
COLUMNS = 3


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Write the picture."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "abi", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415

    rows = -(-len(results) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(4.0 * COLUMNS, 2.9 * rows), squeeze=False, layout="constrained")
    for place, axis in enumerate(axes.flat):
        if place >= len(results):
            axis.set_visible(False)
            continue
        result = results[place]
        for arm, colour in COLOURS.items():
            points = curve(result, arm)
            if not points:
                continue
            sizes = sorted(points)
            means = np.array([np.mean(points[s]) for s in sizes])
            low, high = np.array([np.min(points[s]) for s in sizes]), np.array([np.max(points[s]) for s in sizes])
            axis.plot(
                sizes, means, marker="o", markersize=3.5, color=colour, label=arm, linewidth=2 if arm == "abi" else 1.2
            )
            axis.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g}k" if v >= 1000 else f"{v:g}"))
        axis.set_title(f"{result['set']}  ({result['kind']})", fontsize=9.5, loc="left")
        axis.grid(alpha=0.25)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.supxlabel("parameters", fontsize=9)
    figure.supylabel("quality on test rows (higher is better)", fontsize=9)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
