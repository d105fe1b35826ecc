"""Media columns in a report: which pictures it shows, and where in them attention and channels are."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float64, UInt8

from abi.inputs.trunk import LEVELS
from abi.problem import Grid, Schema
from abi.report import maps
from abi.report.exhibits import Picture
from abi.report.groups import grouped
from abi.report.wording import clean, number, percent, plural
from abi.units import show_count

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.media.grid import Pictures
    from abi.report.content import Report
    from abi.types import Capacity

EXAMPLES: Final = 4
MOST_BYTES: Final = 72_000
"""All pictures of a report, in base64."""
COLOURS: Final = 64
"""Of an example in colour."""
MEAN: Final = "mean"
_QUANTILES: Final = (0.0, 1 / 3, 2 / 3, 1.0)


def small_pictures(schema: Schema, train: Columns) -> tuple[Picture, ...]:
    """The mean picture of each media column's training rows, then a row of some classes as long as there is room."""
    means = [
        Picture(column=grid.column, label=MEAN, png=_png(_mean(held)))
        for grid, held in zip(schema.grids, train.pictures, strict=True)
        if held.there.any()
    ]
    found, room = means, MOST_BYTES - sum(len(p.png) for p in means)
    columns = [_examples(schema, grid, held, train) for grid, held in zip(schema.grids, train.pictures, strict=True)]
    for row in zip(*columns, strict=True):
        shown = [picture for picture in row if picture is not None]
        room -= sum(len(p.png) for p in shown)
        if room < 0:
            break
        found += shown
    return tuple(found)


def _mean(held: Pictures) -> UInt8[np.ndarray, "channels height width"]:
    return np.asarray(np.round(held.pixels[held.there].mean(axis=0)), np.uint8)


def _examples(schema: Schema, grid: Grid, held: Pictures, train: Columns) -> Iterator[Picture | None]:
    """The first row of each of the most frequent classes, or rows from the lowest to the highest value."""
    assert train.target is not None
    there = np.flatnonzero(held.there)
    target = train.target[there]
    for i in range(EXAMPLES):
        place, label = None, ""
        if schema.task == "regression" and len(there):
            place = int(np.argsort(target, kind="stable")[round(_QUANTILES[i] * (len(there) - 1))])
            label = number(float(target[place]))
        elif len(there):
            own = target.astype(bool) if target.ndim > 1 else target[:, None] == np.arange(len(schema.classes))
            counts = own.sum(axis=0)
            one = int(np.argsort(-counts, kind="stable")[i]) if i < len(counts) else 0
            if i < len(counts) and counts[one]:
                place, label = int(np.flatnonzero(own[:, one])[0]), schema.classes[one]
        yield (
            None
            if place is None
            else Picture(column=grid.column, label=label, png=_png(held.pixels[there[place]], COLOURS))
        )


def _png(pixels: UInt8[np.ndarray, "channels height width"], colours: int | None = None) -> str:
    from PIL import Image  # noqa: PLC0415 - tables do not need it

    grey = len(pixels) == 1
    image = Image.fromarray(pixels[0] if grey else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    if colours is not None and not grey:
        image = image.quantize(colours)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def pixels_of(picture: Picture) -> UInt8[np.ndarray, "height width"]:
    """The picture in grey."""
    from PIL import Image  # noqa: PLC0415 - tables do not need it

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.png))).convert("L"), np.uint8)


def pictures(report: Report) -> dict[str, Any]:
    """A figure per media column, the one with the most attention first."""
    schema = report.checks.problem.schema
    weights = {w.feature: w.weight for w in report.plan.attention.weights}
    groups = [group for group in grouped(schema) if group.what in ("picture", "sound")]
    grids = {grid.column: grid for grid in schema.grids}
    order = sorted(groups, key=lambda group: -group.total(weights))
    return {"pictures": [_column(report, grids[group.name], group.members, i) for i, group in enumerate(order)]}


def _column(report: Report, grid: Grid, names: tuple[str, ...], place: int) -> dict[str, Any]:
    weights = {w.feature: w.weight for w in report.plan.attention.weights}
    attention = np.array([weights.get(name, 0.0) for name in names]).reshape(grid.rows, grid.cols)
    channels = _channels(report.plan.capacity, names, grid)
    shown = [p for p in (report.exhibits.pictures if report.exhibits is not None else ()) if p.column == grid.column]
    mean = next((p for p in shown if p.label == MEAN), None)
    scale = 1 / len(weights)
    of = f"{clean(grid.column)}"
    return {
        "name": of,
        "sound": grid.medium == "audio",
        "mean": mean is not None,
        "share": percent(float(attention.sum())),
        "regions": plural(grid.regions, "region"),
        "even": percent(scale),
        "peak": number(float(attention.max()) / scale, 1),
        "map": maps.attention_map(
            f"map-{place}", f"Attention over {of}", None if mean is None else pixels_of(mean), attention, grid
        ),
        "channels": _cells(report, grid, channels),
        "sizes": _sizes(report, grid, channels),
        "examples": [
            {"label": clean(p.label, 24), "png": p.png, "alt": f"{of}, {clean(p.label, 24)}"}
            for p in shown
            if p is not mean
        ],
    }


def _channels(capacity: Capacity, names: tuple[str, ...], grid: Grid) -> Float64[np.ndarray, "rows cols"] | None:
    """Channels of the encoder's last stage at each region; None where nothing looks at the pictures themselves."""
    given = {f.feature: f.width for f in capacity.features}
    if not any(given.get(name) for name in names):
        return None
    return np.array([given.get(name, 0) for name in names], np.float64).reshape(grid.rows, grid.cols)


def _cells(report: Report, grid: Grid, channels: Float64[np.ndarray, "rows cols"] | None) -> list[list[dict[str, int]]]:
    """The grid of channels, each with the quarter of them that it is."""
    size = next((s for s in report.plan.capacity.grids if s.column == grid.column), None)
    if channels is None or size is None:
        return []
    return [[{"channels": int(wide), "level": round(wide / size.base)} for wide in row] for row in channels]


def _sizes(report: Report, grid: Grid, channels: Float64[np.ndarray, "rows cols"] | None) -> str:
    """How many regions have which share of the channels, and what that costs."""
    size = next((s for s in report.plan.capacity.grids if s.column == grid.column), None)
    if channels is None or size is None:
        return "The network does not look at these pictures."
    levels = np.round(channels / size.base).astype(int).ravel()
    counts = [(int((levels == level).sum()), level * size.base) for level in range(LEVELS, -1, -1)]
    said = ", ".join(f"{plural(count, 'region')} with {wide or 'no'} channels" for count, wide in counts if count)
    control = report.control_plan.capacity.grids if report.control_plan is not None else ()
    even = next((s.macs for s in control if s.column == grid.column), None)
    beside = "" if not even else f", {percent(size.macs / even)} of the even split's {show_count(even)}"
    twice = " A prediction takes them twice: for a picture and its mirror image." if size.views else ""
    return f"{said}; {show_count(size.macs)} multiply-accumulates a row{beside}.{twice}"
