"""What a model learns about its inputs before training: knots, vocabularies, the target's scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from abi.inputs.categorical import vocabulary
from abi.inputs.numeric import quantile_edges
from abi.types import Capacity, FeatureCapacity, Schema, Value

if TYPE_CHECKING:
    from abi.data.columns import Columns


@dataclass(frozen=True, kw_only=True)
class Preparation(Value):
    """Knots per numeric feature and vocabulary per categorical one, in schema order; mean and deviation of the target."""

    edges: tuple[tuple[float, ...], ...]
    vocabularies: tuple[tuple[str, ...], ...]
    target_mean: float = 0.0
    target_deviation: float = 1.0


def by_kind(schema: Schema, capacity: Capacity) -> tuple[list[FeatureCapacity], list[FeatureCapacity]]:
    """The capacities of numeric features, and of categorical and boolean ones, each in schema order."""
    pairs = list(zip(schema.features, capacity.features, strict=True))
    return [c for f, c in pairs if f.kind == "numeric"], [c for f, c in pairs if f.kind != "numeric"]


def prepare(schema: Schema, capacity: Capacity, train: Columns) -> Preparation:
    """Learn it from training rows alone."""
    numeric, categorical = by_kind(schema, capacity)
    mean, deviation = 0.0, 1.0
    if schema.task == "regression":
        assert train.target is not None
        mean, deviation = float(train.target.mean()), float(train.target.std()) or 1.0
    return Preparation(
        edges=tuple(
            tuple(quantile_edges(np.ascontiguousarray(train.numeric[:, i]), c.bins).tolist())
            for i, c in enumerate(numeric)
        ),
        vocabularies=tuple(vocabulary(codes, c.rows) for codes, c in zip(train.categorical, categorical, strict=True)),
        target_mean=mean,
        target_deviation=deviation,
    )
