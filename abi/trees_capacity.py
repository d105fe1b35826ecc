"""The size of boosted trees: what a plan gives them, feature by feature and pair by pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from abi.values import Late, Value


@dataclass(frozen=True)
class Pair(Value):
    """Two categorical features whose values are taken together: so many different pairs stand in the training rows."""

    features: tuple[str, str]
    values: int


@dataclass(frozen=True, kw_only=True)
class TreeFeature(Value):
    """What one feature was given in the trees.

    `bins` are histogram bins (or categories), `contribution` what the gain of a split on the feature is multiplied by,
    `treatment` how its values go in: as numbers, as categories, or as target statistics of the training rows.
    """

    feature: str
    bins: int
    contribution: float
    treatment: Literal["numeric", "categories", "statistics"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class TreePair(Value):
    """What the target statistics of two features' pairs of values were given: at most for so many `values`; else as `TreeFeature`."""

    features: tuple[str, str]
    values: int
    bins: int
    contribution: float


@dataclass(frozen=True, kw_only=True)
class TreesCapacity(Value):
    """The size of boosted trees: at most `rounds` of one tree per output with up to `leaves` leaves.

    `feature_share` of the columns is drawn for each tree, `row_share` of the rows; `patience` are rounds without a
    better validation loss.
    """

    features: tuple[TreeFeature, ...]
    rounds: int
    leaves: int
    learning_rate: float
    least_rows: int
    feature_share: float
    row_share: float
    patience: int
    parameters: int
    pairs: Late[tuple[TreePair, ...]] = ()
