"""Quality group by group, along the features with the most attention."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from abi.evaluation.bootstrap import block_rows, estimate, resamples
from abi.frequency import ClassGroups
from abi.metrics import Prediction, statistics
from abi.outcomes import Slice, Trained

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

QUANTILES = 4
RESAMPLES = 200
MAX_GROUPS = 6
WRITTEN_OUT = 1e12
"""Smaller edges of a quarter are written without a power of ten."""


def slices(
    trained: Trained,
    test: Columns,
    prediction: Prediction,
    metric: str,
    config: Config,
    classes: ClassGroups | None = None,
) -> tuple[Slice, ...]:
    """The primary metric in the quarters of numeric features and the frequent values of others; not of texts and regions.

    Of rows in order of time neighbouring ones are resampled together. Groups with fewer rows than `evaluation.slice_rows`, or
    where the metric is not defined (one class), are left out.
    """
    assert test.target is not None
    problem = trained.plan.attention.scores.problem
    schema, ordered = problem.schema, bool(problem.split.order)
    kinds: list[str] = [f.kind for f in schema.features]
    by_attention = np.argsort([-w for w in trained.attention], kind="stable")
    order = [i for i in by_attention if kinds[i] not in ("text", "embedding", "sequence", "region")]
    found = []
    for i in order[: config.evaluation.slices]:
        for group, inside in _groups(int(i), test, kinds):
            rows = int(inside.sum())
            if rows < config.evaluation.slice_rows or inside.all():  # all rows are no group
                continue
            function = statistics(schema.task, test.target[inside], prediction[inside], classes)[metric]
            value = float(function(np.ones((1, rows)))[0])
            if not np.isfinite(value):
                continue
            block = block_rows(rows) if ordered else 1
            draws = np.concatenate([function(c) for c in resamples(rows, RESAMPLES, config.seed, block)])
            found.append(Slice(feature=schema.features[i].name, group=group, rows=rows, metric=estimate(value, draws)))
    return tuple(found)


def _groups(index: int, test: Columns, kinds: Sequence[str]) -> Iterator[tuple[str, Bool[np.ndarray, " rows"]]]:
    numeric = kinds[index] == "numeric"
    place = sum((kind == "numeric") == numeric for kind in kinds[:index])
    if not numeric:
        codes = test.categorical[place]
        counts = np.bincount(codes.codes[codes.codes >= 0], minlength=len(codes.values))
        for value in np.argsort(-counts, kind="stable")[:MAX_GROUPS]:
            yield codes.values[value], codes.codes == value
        if (codes.codes < 0).any():
            yield "missing", codes.codes < 0
        return
    values = test.numeric[:, place]
    finite = values[np.isfinite(values)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, QUANTILES + 1))) if len(finite) else finite
    names = _names(edges)
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        last = high == edges[-1]
        inside = (values >= low) & ((values <= high) if last else (values < high))
        yield f"{names[place]} to {names[place + 1]}", inside
    if np.isnan(values).any():
        yield "missing", np.isnan(values)


def _names(edges: Float[np.ndarray, " edges"]) -> list[str]:
    """With four digits, or as many as tell them apart (moments of one day have nine in common)."""
    for digits in range(4, 17):
        names = [_name(edge, digits) for edge in edges]
        if len(set(names)) == len(names):
            break
    return names


def _name(edge: float, digits: int) -> str:
    short = f"{edge:.{digits}g}"
    return short if abs(edge) >= WRITTEN_OUT or "e+" not in short else f"{float(short):.0f}"
