"""What a network does with several modalities (`abi.modality`): which of its members read which, and what is there of a row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from abi.modality import modalities, modality_of
from abi.problem import Schema

if TYPE_CHECKING:
    from abi.data.columns import Codes, Columns


def listeners(weights: Float[np.ndarray, " modalities"], members: int) -> list[int]:
    """Of late fusion: the modality that each ensemble member reads, as many members as attention gives it, at least one.

    The members' average is then sum_m a_m p_m over the modalities' own predictions p_m, with attention a in steps of
    1 / members (largest remainders).

    Args:
        weights: attention of each modality; they sum to 1.
        members: at least as many as there are modalities.
    """
    spare = members - len(weights)
    exact = weights * spare
    counts = np.floor(exact).astype(int)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: spare - counts.sum()]] += 1
    return [m for m, count in enumerate(counts) for _ in range(count + 1)]


def heard(rows: int, count: int, share: float, device: torch.device) -> Bool[Tensor, "rows modalities"]:
    """Which modalities a training row is given: each is left out with probability `share`, but never all of them.

    References:
        Neverova et al. 2016, "ModDrop" (arXiv 1501.00102).
    """
    kept = torch.rand(rows, count, device=device) >= share
    return kept | ~kept.any(dim=1, keepdim=True)


def present(columns: Columns, schema: Schema, used: Collection[str]) -> Bool[np.ndarray, "rows modalities"]:
    """Which modalities a row has: a value of any of their features that are `used`, and that is no blank text."""
    names = modalities(schema)
    found = np.zeros((len(columns), len(names)), dtype=bool)
    numbers, others = iter(columns.numeric.T), iter(columns.categorical)
    for feature in schema.features:
        there = ~np.isnan(next(numbers)) if feature.kind == "numeric" else _there(next(others))
        if feature.name in used:
            found[:, names.index(modality_of(feature))] |= there
    return found


def _there(codes: Codes) -> Bool[np.ndarray, " rows"]:
    says = np.array([*(bool(value.strip()) for value in codes.values), False])  # a missing value's -1 names the last
    return np.asarray(says[codes.codes])


def shares(prior: Sequence[float], schema: Schema) -> Float[np.ndarray, " modalities"]:
    """Attention of each modality: the sum over its features."""
    names = modalities(schema)
    total = np.zeros(len(names))
    for feature, weight in zip(schema.features, prior, strict=True):
        total[names.index(modality_of(feature))] += weight
    return np.asarray(total / total.sum())
