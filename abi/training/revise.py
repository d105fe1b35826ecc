"""What a trained model of any family showed, and where attention moves by it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from abi.attention.fit import move
from abi.families import artifact
from abi.families.blend import Blend
from abi.families.encoding import layout, matrix
from abi.families.family import Model
from abi.families.trees import TreesModel
from abi.metrics import row_loss
from abi.training.rescore import FOLDS, ROWS, fold_means, model_scores, rescore
from abi.types import Attention, Scores, TreesAttention

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

ALONE: Final = 64
"""So many features with the most gain are shuffled; what the others add is below what shuffling can tell."""


def revise(model: Model, validation: Columns, attention: Attention, config: Config) -> Attention:
    """The attention moved towards what `model` does with each feature; of a blend, each part's own by its own.

    Args:
        model: the round's model.
        validation: rows that it was not fitted on.
        attention: what it was planned by.
        config: movement, floor and cap; the seed of rows and shuffles.
    """
    if isinstance(model, Blend):
        moved = revise(model.network, validation, replace(attention, trees=None), config)
        grown = revise(model.trees, validation, attention, config)
        return replace(moved, trees=grown.trees)
    if isinstance(model, TreesModel):
        own = trees_view(attention)
        scores, shares = rescore_trees(model, validation, attention.scores, seed=config.seed)
        moved = move(own, scores, shares, config.attention)
        statistics = attention.trees is not None and attention.trees.statistics
        trees = TreesAttention(
            temperature=moved.temperature,
            weights=moved.weights,
            trials=moved.trials,
            statistics=statistics,
            blend=moved.blend,
        )
        return replace(moved, trees=trees)
    assert isinstance(model, artifact.Model)
    scores, shares = rescore(model, validation, attention.scores, seed=config.seed)
    return replace(move(replace(attention, trees=None), scores, shares, config.attention), trees=None)


def trees_view(attention: Attention) -> Attention:
    """Attention as the trees had it."""
    own = attention.trees
    if own is None:
        return attention
    return replace(
        attention, temperature=own.temperature, weights=own.weights, trials=own.trials, blend=own.blend, trees=None
    )


def rescore_trees(
    model: TreesModel, validation: Columns, before: Scores, *, seed: int
) -> tuple[Scores, Float[np.ndarray, " n"]]:
    """Scores with source "model", and the trees' importance per feature as shares on the simplex.

    Two views are blended: the gain of all splits on a feature (training rows; Friedman 2001), and the validation loss
    added by shuffling its columns (Breiman 2001).

    Args:
        model: the round's trees.
        validation: rows that they were not grown on; at most 4,096 of them are used.
        before: the scores that the round started from; the terms that a model cannot tell are kept from it.
        seed: of the rows and the shuffles.
    """
    random = np.random.default_rng(seed)
    used = validation.take(np.sort(random.permutation(len(validation))[:ROWS]))
    assert used.target is not None
    target, schema, encoding = used.target, model.schema, model.blueprint.encoding
    rows = matrix(encoding, used)
    feature_of = np.array(layout(schema, encoding).feature_of)
    count = len(schema.features)
    columns = np.asarray(model.booster.feature_importance("gain"), np.float64)
    gains = np.bincount(feature_of, weights=columns, minlength=count)
    folds = np.arange(len(target)) % min(FOLDS, len(target))

    def losses(values: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, " folds"]:
        per_row = row_loss(schema.task, target, model.predict_matrix(values))
        return np.asarray(fold_means(per_row[:, None], folds)[:, 0])

    plain = losses(rows)
    added = np.zeros((folds.max() + 1, count))
    for feature in np.argsort(-gains, kind="stable")[:ALONE]:
        if gains[feature] <= 0:
            break
        mine = feature_of == feature
        shuffled = rows.copy()
        shuffled[:, mine] = rows[random.permutation(len(rows))][:, mine]
        added[:, feature] = losses(shuffled) - plain
    return model_scores(before, np.tile(gains, (len(added), 1)), added, len(target))


def even_twin(even: Attention, kept: Attention) -> Attention:
    """The even split for the trees as well; how categories go in is not attention's doing, and stays."""
    if kept.trees is None:
        return even
    trees = TreesAttention(temperature=None, weights=even.weights, statistics=kept.trees.statistics)
    return replace(even, trees=trees)


def trial_count(attention: Attention) -> int:
    """Short trainings that attention had: of a blend, one of the twin's is of both parts."""
    own = attention.trees.trials if attention.trees is not None else ()
    return max(len(attention.trials), len(own))
