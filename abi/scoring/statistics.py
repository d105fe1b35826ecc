"""The terms of all features from their counts; tables of one shape are worked out together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from abi.scoring.beside import beside
from abi.scoring.combine import Terms
from abi.scoring.complexity import cardinality, curvature
from abi.scoring.counts import views
from abi.scoring.discrimination import discrimination
from abi.scoring.edges import NumericBins
from abi.scoring.null import discoveries, nulls
from abi.scoring.redundancy import redundancy
from abi.scoring.relevance import beyond_chance, entropy, expected_information, information

if TYPE_CHECKING:
    from abi.config import ScoringConfig
    from abi.scoring.counts import Counts
    from abi.scoring.edges import Bins, Target
    from abi.scoring.types import Grouped

_CELLS = 2**20
"""Cells of all views that are worked out together, so that memory does not grow with the columns."""
_DIGITS = 9


def terms_of(counts: Counts, bins: Bins, config: ScoringConfig, seed: int, *, together: bool = True) -> Terms:
    """All terms.

    Args:
        counts: of all shards.
        bins: that they were counted in.
        config: shuffles and the false discovery rate.
        seed: of the draws behind the null.
        together: test features that tell nothing alone beside those that do.
    """
    features = len(bins.features)
    terms = np.zeros((3, config.groups + 1, features))
    points, p_values = np.zeros(features), np.ones(features)
    for batch in _batches(counts, bins):
        whole = np.stack([counts.tables[i] for i in batch])
        parts = [
            _terms(table, bins, batch, config, [(seed, i, *label) for i in batch])
            for table, label in zip(bins.target.tables(whole), _labels(bins.target), strict=True)
        ]
        terms[:, :, batch], points[batch], p_values[batch] = parts[0][:3] if len(parts) == 1 else _averaged(parts)
    carries = discoveries(p_values, config.significance)
    found = Terms(terms[0], terms[1], terms[2], np.zeros(features), points, p_values, carries)
    order = np.argsort(-found.relevance[0].clip(0.0).round(_DIGITS), kind="stable")
    beside_p = beside(counts.sample, bins, order, carries) if together else None
    return found.compared(redundancy(counts.sample.codes, order), beside_p)


_Found = tuple[
    Float64[np.ndarray, "3 views features"], Float64[np.ndarray, " features"], Float64[np.ndarray, " features"],
    tuple[float, float],
]  # fmt: skip
"""Terms, points of the null, p-values, and the entropy and variance of the target."""


def _terms(
    together: Grouped, bins: Bins, batch: list[int], config: ScoringConfig, seeds: Sequence[tuple[int, ...]]
) -> _Found:
    """All terms of features whose tables have the same shape."""
    tables = views(together)
    size = tables.shape[1]
    flat = tables.reshape(-1, *tables.shape[2:])
    told, chance = information(flat), expected_information(flat)
    margins = flat.sum(axis=1)
    levels = _levels(bins, batch)
    terms = np.stack(
        [
            beyond_chance(told, chance, entropy(margins)).reshape(-1, size).T,
            discrimination(together, bins.target.coordinates).T,
            (cardinality(tables) if levels is None else curvature(tables, levels, bins.target.coordinates)).T,
        ]
    )
    points, p_values = nulls(tables[:, 0], told[::size], chance[::size], config.shuffles, seeds)
    shares = margins[0] / max(1.0, margins[0].sum())
    return terms, points, p_values, (float(entropy(margins[:1])[0]), float(1 - (shares**2).sum()))


def _labels(target: Target) -> list[tuple[int, ...]]:
    """What the draws behind a label's null are seeded with besides."""
    return [()] if target.labels is None else [(int(label),) for label in target.labels]


def _averaged(found: Sequence[_Found]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One score over all labels: information weighs by the labels' entropy, discrimination by their variance.

    So relevance is sum I_l / sum H_l (each beyond chance), and discrimination the share of all labels' variance. A feature
    carries signal where it does for some label: the least p-value times the number of labels (Bonferroni).
    """
    entropies, variances = (np.array([f[3][i] for f in found]) for i in (0, 1))
    entropies, variances = (w / w.sum() if w.sum() > 0 else np.full(len(w), 1 / len(w)) for w in (entropies, variances))
    weights = (entropies, variances, entropies)
    terms = np.stack([np.tensordot(w, np.stack([f[0][i] for f in found]), 1) for i, w in enumerate(weights)])
    points = entropies @ np.stack([f[1] for f in found])
    return terms, points, np.minimum(1.0, len(found) * np.stack([f[2] for f in found]).min(axis=0))


def _batches(counts: Counts, bins: Bins) -> Iterator[list[int]]:
    """Features of one kind and size; those that are constant are left out."""
    alike: dict[tuple[bool, int], list[int]] = {}
    for position, (kind, table) in enumerate(zip(bins.features, counts.tables, strict=True)):
        if np.count_nonzero(table.any(axis=(1, 2))) > 1:
            alike.setdefault((isinstance(kind, NumericBins), len(table)), []).append(position)
    for positions in alike.values():
        _, groups, classes = counts.tables[positions[0]].shape
        most = max(1, _CELLS // (len(counts.tables[positions[0]]) * (groups + 1) * classes))
        for start in range(0, len(positions), most):
            yield positions[start : start + most]


def _levels(bins: Bins, batch: list[int]) -> Float64[np.ndarray, "features bins"] | None:
    """The places of the bins along numeric features; None for categorical ones."""
    levels = [kind.levels for i in batch if isinstance(kind := bins.features[i], NumericBins)]
    return np.stack(levels) if levels else None
