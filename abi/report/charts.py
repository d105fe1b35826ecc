"""Curves as inline SVG: drawn by matplotlib, coloured by the page.

The figures are narrow, so that their text stays legible on a phone; colours are placeholders that become CSS
variables, so that one picture serves light and dark. No text of the user's is drawn: it may hold glyphs that no font has.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from abi.outcomes import Calibration, Epoch
from abi.planning.forecast import Forecast
from abi.problem import Task
from abi.report.wording import metric_name
from abi.resources import Part, Work
from abi.units import show_rate

INK, MUTED, GRID, MODEL, OTHER = "#010101", "#020202", "#030303", "#040404", "#050505"
THIRD, BASELINE = "#060606", "#070707"
_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    MODEL: "var(--model)",
    OTHER: "var(--other)",
    THIRD: "var(--third)",
    BASELINE: "var(--baseline)",
}
_PARTS: dict[Part, str] = {"feature extraction": MODEL, "middle": THIRD, "output": BASELINE}
_SIZE_IN = (4.7, 2.7)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "abi",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "image.composite_image": False,
}


def loss_curve(history: Sequence[Epoch], best_epoch: int, unit: str = "epoch") -> str:
    """Loss on training and validation rows, with the epoch (of trees, the boosting round) that was kept."""

    def draw(axes: Any) -> None:
        epochs = [e.epoch for e in history]
        axes.plot(
            epochs, [math.nan if e.train_loss is None else e.train_loss for e in history], color=OTHER, **_dots(epochs)
        )
        axes.plot(epochs, [e.validation_loss for e in history], color=MODEL, **_dots(epochs))
        axes.axvline(best_epoch, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        _epochs(axes, "loss", unit)

    return chart("loss", f"Training and validation loss by {unit}", draw)


def metric_curve(histories: Sequence[Sequence[Epoch]], kept: int, metric: str, unit: str = "epoch") -> str:
    """The primary metric on validation rows, one line per round, the kept one on top."""

    def draw(axes: Any) -> None:
        order = sorted(range(len(histories)), key=lambda i: i == kept)
        for i in order:
            epochs = [e.epoch for e in histories[i]]
            colour, width = (MODEL, 1.8) if i == kept else (OTHER, 1.2)
            axes.plot(
                epochs,
                [math.nan if e.metric is None else e.metric for e in histories[i]],
                color=colour,
                linewidth=width,
                **_dots(epochs),
            )
        _epochs(axes, metric_name(metric), unit)

    return chart("metric", f"{metric_name(metric)} on validation rows by {unit}", draw)


def calibration_curve(calibration: Calibration, task: Task) -> str:
    """Mean predicted against mean observed value; the diagonal is perfect, the area of a dot is its rows."""
    predicted = [b.predicted for b in calibration.bins]
    observed = [b.observed for b in calibration.bins]
    most = max(b.rows for b in calibration.bins)

    def draw(axes: Any) -> None:
        low, high = (0.0, 1.0) if task != "regression" else (min(predicted + observed), max(predicted + observed))
        axes.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        axes.plot(predicted, observed, color=MODEL, linewidth=1.2)
        axes.scatter(
            predicted, observed, s=[12 + 60 * b.rows / most for b in calibration.bins], color=MODEL, linewidths=0
        )
        axes.set_xlabel("predicted")
        axes.set_ylabel("observed")

    return chart("calibration", "Observed against predicted values", draw)


def roofline(work: Sequence[Work], forecast: Forecast) -> str:
    """Reached FLOPs per second of each piece over its FLOPs per byte, under the device's roof (Williams et al. 2009)."""
    pieces = [w for w in work if w.part is not None and w.stage != "evaluate" and w.flops and w.bytes]
    x = [w.flops / w.bytes for w in pieces]
    ridge = forecast.rate / forecast.bandwidth
    low, high = min([ridge / 20, *(v / 2 for v in x)]), max([ridge * 20, *(v * 2 for v in x)])
    least = min([low * forecast.reached_bandwidth, *(w.flops / w.seconds / 2 for w in pieces)])

    def draw(axes: Any) -> None:
        for rate, bandwidth, style in (
            (forecast.rate, forecast.bandwidth, "-"),
            (forecast.reached_rate, forecast.reached_bandwidth, (0, (3, 3))),
        ):
            turn = rate / bandwidth
            axes.plot([low, turn, high], [low * bandwidth, rate, rate], color=MUTED, linewidth=1.2, linestyle=style)
        for w, at in zip(pieces, x, strict=True):
            assert w.part is not None
            axes.plot(
                [at],
                [w.flops / w.seconds],
                marker="o" if w.stage == "forward" else "s",
                markersize=7,
                color=_PARTS[w.part],
                linestyle="none",
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(least, forecast.rate * 3)
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_formatter(lambda value, _: show_rate(value))
        axes.set_xlabel("FLOPs per byte of traffic")

    return chart("roofline", "Reached arithmetic of each piece of a step under the device's roof", draw)


def _dots(points: Sequence[object]) -> dict[str, object]:
    return {"marker": "o", "markersize": 4} if len(points) == 1 else {}


def _epochs(axes: Any, label: str, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - matplotlib takes a second to import

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(unit)
    axes.set_ylabel(label)


def svg(name: str, alt: str, size_in: tuple[float, float], draw: Callable[[Any], None]) -> str:
    """The figure that `draw` makes, as a part of a page."""
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=size_in, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), f"chart-{name}", alt)


def chart(name: str, alt: str, draw: Callable[[Any], None]) -> str:
    """What `draw` puts on one pair of axes of the usual size, as a part of a page; `alt` is read out in its place."""
    return svg(name, alt, _SIZE_IN, lambda figure: draw(figure.add_subplot()))


def _inline(svg: str, name: str, alt: str) -> str:
    """Make matplotlib's file a part of a page: own ids, the page's colours and fonts, a title for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'url\(#|(?<=href=")#', lambda match: f"{match[0]}{name}-", svg)
    svg = re.sub(r" ?font-family: [^;\"]*;", "", svg)
    for placeholder, colour in _COLOURS.items():
        svg = svg.replace(placeholder, colour)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    body = svg[svg.index(">") + 1 :]
    head = f'<svg {box[0]} xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-labelledby="{name}-title">'
    return re.sub(r">\s+<", "><", f'{head}<title id="{name}-title">{html.escape(alt)}</title>{body}'.strip())
