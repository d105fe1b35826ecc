"""What a feature tells beside the others that it does not tell alone.

A feature may say nothing about the target by itself and yet improve what the others say of it: lines of comment in code of a
given length, age beside income. Statistics call it a suppressor (Conger 1974), and a filter that looks at one feature at a
time takes it for noise. Here each feature that carries no signal alone is held against a regression of the target on those
that do, by the partial F-test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import fdtrc

from abi.scoring.edges import Bins, NumericBins
from abi.scoring.redundancy import FEATURES, indicators
from abi.scoring.sample import Sample
from abi.scoring.text_bins import TextBins

ROWS_PER_COLUMN: Final = 4
"""The regression has no more columns than the sample's rows over this,"""
COLUMNS: Final = 512
"""and no more than this, so that it takes no longer than the pass."""
OWN: Final = 1e-6
"""Least share of a feature's variance that the others must leave, for a test of it; less is rounding."""
_BATCH: Final = 128
"""Features that are tested together."""

_Columns: TypeAlias = Float64[np.ndarray, "columns rows"]
_Axes: TypeAlias = Float64[np.ndarray, "rows axes"]


def beside(
    sample: Sample, bins: Bins, order: Int64[np.ndarray, " ranked"], carries: Bool[np.ndarray, " features"]
) -> Float64[np.ndarray, " features"]:
    """p-values of what each feature that does not carry signal alone adds to those that do; NaN where nothing was tested.

    With r what a least-squares regression on the features that carry signal leaves of the target, and x~ what it leaves of
    the feature's q columns, over n rows of the mergeable sample:

        F = (|P r|^2 / q) / ((|r|^2 - |P r|^2) / (n - k - q)),   P the projection on x~, k the columns of the others

    A number is one column, the median of its bin, so that no outlier rules; a category one for each of its coarse levels.
    The target has an axis per class, or one of bin means; the least p-value counts, times the number of axes
    (Bonferroni). Only linear effects are seen. A text is not tested: its bins were made by what the
    target is (`abi.scoring.text_bins`), which tells of it beside others whatever the text says.

    Only the best `FEATURES` that carry signal are regressed on, and each tested feature is held against these alone, so
    that time stays linear in the columns.

    Args:
        sample: rows with the bin of each feature, and their targets.
        bins: that they were counted in.
        order: features from the most relevant to the least.
        carries: which of them carry signal alone.

    References:
        Conger, "A revised definition for suppressor variables", Educational and Psychological Measurement, 1974.
    """
    found = np.full(len(carries), np.nan)
    of_text = np.array([isinstance(kind, TextBins) for kind in bins.features], dtype=bool)
    tested = np.flatnonzero(~carries & ~of_text)
    target = _target(sample, bins)
    others = _basis(sample, bins, [int(i) for i in order[carries[order]][:FEATURES]])
    if others is None or not len(tested) or not target.size:
        return found
    left = target - others @ (others.T @ target)
    whole = (left**2).sum(axis=0)
    for chosen, columns, widths in _batches(sample, bins, tested):
        held, told = columns @ others, columns @ left
        ends = np.cumsum(widths)
        for feature, end, width in zip(chosen, ends.tolist(), widths, strict=True):
            mine = slice(end - width, end)
            own = columns[mine] @ columns[mine].T - held[mine] @ held[mine].T
            found[feature] = _p_value(own, told[mine], whole, len(left) - others.shape[1])
    return found


def _p_value(
    own: Float64[np.ndarray, "columns columns"],
    told: Float64[np.ndarray, "columns axes"],
    whole: Float64[np.ndarray, " axes"],
    freedom: int,
) -> float:
    """Of the F-test, over all axes of the target; 1 where the feature has nothing of its own.

    Args:
        own: products x~'x~ of what the others leave of the feature's columns.
        told: products x~'r with what they leave of the target.
        whole: |r|^2.
        freedom: rows less columns of the others.
    """
    values, vectors = np.linalg.eigh(own)
    kept = values > OWN * len(own) * (freedom + 1)
    degrees = int(kept.sum())
    freedom -= degrees
    if not degrees or freedom < 1:
        return 1.0
    explained = ((vectors[:, kept].T @ told) ** 2 / values[kept, None]).sum(axis=0)
    rest = np.maximum(whole - explained, np.finfo(float).tiny)
    best = ((explained / degrees) / (rest / freedom)).max()
    return float(min(1.0, len(whole) * fdtrc(degrees, freedom, best)))


def _target(sample: Sample, bins: Bins) -> _Axes:
    """An axis per class, of two classes one; bin means of a number; an axis per label. Those without variance are left out."""
    if bins.target.labels is not None:
        axes = sample.targets.T.astype(np.float64)
    else:
        axes = bins.target.coordinates[sample.targets[0]]
        axes = axes[:, 1:] if axes.shape[1] == 2 else axes  # noqa: PLR2004 - two classes are one axis
    return axes[:, np.ptp(axes, axis=0) > 0] if len(axes) else axes


def _basis(sample: Sample, bins: Bins, features: list[int]) -> Float64[np.ndarray, "rows directions"] | None:
    """An orthonormal basis of a constant and these features' columns, the first that are few enough for the rows; None without any."""
    rows = sample.codes.shape[1]
    columns = [np.full((1, rows), 1.0)]
    room = min(COLUMNS, rows // ROWS_PER_COLUMN) - 1
    for feature in features:
        mine = _columns(sample, bins, feature)
        if len(mine) > room:
            break
        room -= len(mine)
        columns.append(mine)
    return None if len(columns) == 1 else _orthonormal(np.concatenate(columns))


def _batches(
    sample: Sample, bins: Bins, features: Int64[np.ndarray, " tested"]
) -> Iterator[tuple[list[int], _Columns, list[int]]]:
    """(features, their columns side by side, how many each has)."""
    for start in range(0, len(features), _BATCH):
        chosen = features[start : start + _BATCH].tolist()
        columns = [_columns(sample, bins, feature) for feature in chosen]
        yield chosen, np.concatenate(columns), [len(mine) for mine in columns]


def _columns(sample: Sample, bins: Bins, feature: int) -> _Columns:
    """Columns of mean 0 and variance 1: the middle of a number's bin, or a category's coarse levels; none of a constant."""
    codes, kind = sample.codes[feature], bins.features[feature]
    if isinstance(kind, NumericBins):
        values = kind.levels[codes]
        known = np.isfinite(values)
        values = values / np.abs(values[known]).max(initial=np.finfo(float).tiny)
        columns = np.where(known, values, values[known].mean() if known.any() else 0.0)[None]
    else:
        columns = indicators(codes).astype(np.float64)
    columns -= columns.mean(axis=1, keepdims=True)
    spread = columns.std(axis=1, keepdims=True)
    some = spread[:, 0] > OWN
    return np.asarray(columns[some] / spread[some])


def _orthonormal(columns: _Columns) -> Float64[np.ndarray, "rows directions"]:
    """A basis of the space of these columns; directions with next to none of their variance are left out."""
    values, vectors = np.linalg.eigh(columns @ columns.T)
    kept = values > OWN * values[-1]
    return np.asarray(columns.T @ (vectors[:, kept] / np.sqrt(values[kept])))
