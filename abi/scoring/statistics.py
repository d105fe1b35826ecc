"""The terms of all features from their counts; tables of one shape are worked out together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

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
    from abi.scoring.edges import Bins

_CELLS = 2**20
"""Cells of all views that are worked out together, so that memory does not grow with the columns."""
_DIGITS = 9


def terms_of(counts: Counts, bins: Bins, config: ScoringConfig, seed: int) -> Terms:
    """All terms, with redundancy filled in.

    Args:
        counts: of all shards.
        bins: that they were counted in.
        config: shuffles and the false discovery rate.
        seed: of the draws behind the null.
    """
    features = len(bins.features)
    terms = np.zeros((3, config.groups + 1, features))
    points, p_values = np.zeros(features), np.ones(features)
    for batch in _batches(counts, bins):
        together = np.stack([counts.tables[i] for i in batch])
        tables = views(together)
        size = tables.shape[1]
        flat = tables.reshape(-1, *tables.shape[2:])
        told, chance = information(flat), expected_information(flat)
        terms[0][:, batch] = beyond_chance(told, chance, entropy(flat.sum(axis=1))).reshape(-1, size).T
        terms[1][:, batch] = discrimination(together, bins.target.coordinates).T
        levels = _levels(bins, batch)
        terms[2][:, batch] = (
            cardinality(tables) if levels is None else curvature(tables, levels, bins.target.coordinates)
        ).T
        points[batch], p_values[batch] = nulls(
            tables[:, 0], told[::size], chance[::size], config.shuffles, [(seed, i) for i in batch]
        )
    carries = discoveries(p_values, config.significance)
    found = Terms(terms[0], terms[1], terms[2], np.zeros(features), points, p_values, carries)
    order = np.argsort(-found.relevance[0].clip(0.0).round(_DIGITS), kind="stable")
    return found.with_redundancy(redundancy(counts.sample.codes, order))


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
