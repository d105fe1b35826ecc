"""Values of two categories taken together: (manager, department) says what neither says alone.

A pair's values are joint codes of the single ones, a number each; which occurred in training rows, and how often, is all
that is learned of them here. Their target statistics are those of any category (`abi.inputs.target_means`).

Reference:
    Prokhorenkova et al., "CatBoost", 2018, section 3 ("feature combinations"), which takes them greedily, split by split;
    ours are taken all or none, on validation rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from jaxtyping import Int, Int64

from abi.problem import Schema
from abi.trees_capacity import Pair

if TYPE_CHECKING:
    from abi.data.columns import Codes

MOST_FEATURES: Final = 10
"""Pairs are made of so many features at most, the most relevant ones: 45 pairs."""
NEARLY_ALL: Final = 0.9
"""Pairs with more values than this share of their rows say nothing of others."""
LEAST_VALUES: Final = 3
"""A feature of two values is left to the trees, which split by it in one step."""
NONE: Final = -1


def joint_codes(
    first: Int[np.ndarray, " rows"], second: Int[np.ndarray, " rows"], seconds: int
) -> Int64[np.ndarray, " rows"]:
    """One number per pair of values; -1 where one of the two is not known.

    Args:
        first: value of each row, -1 for none.
        second: the same of the other feature.
        seconds: number of values of that one.
    """
    joint = first.astype(np.int64) * seconds + second
    return np.where((first < 0) | (second < 0), NONE, joint)


def frequent(joint: Int64[np.ndarray, " rows"], most: int) -> Int64[np.ndarray, " values"]:
    """The joint codes that occur in the most rows, at most so many, in ascending order."""
    keys, times = np.unique(joint[joint >= 0], return_counts=True)
    return np.sort(keys[np.argsort(-times, kind="stable")[:most]])


def places_in(keys: Int64[np.ndarray, " values"], joint: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " rows"]:
    """Where each code stands among the `keys`, which ascend; -1 where it does not."""
    if not len(keys):
        return np.full(len(joint), NONE, np.int64)
    places = np.minimum(np.searchsorted(keys, joint), len(keys) - 1)
    return np.where(keys[places] == joint, places, NONE)


def find_pairs(schema: Schema, codes: Sequence[Codes], relevance: Mapping[str, float]) -> tuple[Pair, ...]:
    """Pairs of categories that may say more than each alone, the most relevant first.

    One of two features that determines the other has no more values with it than alone, and such a pair is left out; so is
    one that is another in nearly every row.

    Args:
        schema: of the features.
        codes: training rows of every feature that is not numeric, in schema order.
        relevance: of each feature, by name.
    """
    others = [f for f in schema.features if f.kind != "numeric"]
    able = [
        (f, own) for f, own in zip(others, codes, strict=True) if f.kind == "categorical" and f.distinct >= LEAST_VALUES
    ]
    able = sorted(able, key=lambda one: -relevance[one[0].name])[:MOST_FEATURES]
    found: list[tuple[float, Pair]] = []
    for (one, first), (other, second) in itertools.combinations(able, 2):
        joint = joint_codes(first.codes, second.codes, len(second.values))
        known = joint >= 0
        values = _distinct(joint[known])
        least = max(_distinct(first.codes[known]), _distinct(second.codes[known]))
        if least < values <= NEARLY_ALL * known.sum():
            found.append((relevance[one.name] + relevance[other.name], Pair((one.name, other.name), values)))
    return tuple(pair for _, pair in sorted(found, key=lambda rated: -rated[0]))


def thinned(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """The half of them with the fewest values, in their order."""
    kept = sorted(range(len(pairs)), key=lambda i: pairs[i].values)[: len(pairs) // 2]
    return tuple(pairs[i] for i in sorted(kept))


def _distinct(codes: Int[np.ndarray, " rows"]) -> int:
    return len(pd.unique(codes))
