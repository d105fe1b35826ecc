"""What a trained model of any family showed, and where attention moves by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Int64

from abi.attention.fit import fit, move
from abi.attention.trees import trees_view
from abi.families import artifact
from abi.families.blend import Blend
from abi.families.encoding import layout, matrix
from abi.families.family import Model
from abi.families.preparation import start_alike
from abi.families.trees import TreesModel
from abi.metrics import row_loss
from abi.problem import Schema
from abi.training.rescore import FOLDS, ROWS, fold_means, model_scores, rescore
from abi.types import Attention, Capacity, Family, Plan, Scores, TreesAttention

if TYPE_CHECKING:
    from abi.config import AttentionConfig, Config
    from abi.data.columns import Columns
    from abi.outcomes import Move, Trained

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
        assert isinstance(model.network, artifact.Model)
        assert isinstance(model.trees, TreesModel)
        network, _ = rescore(model.network, validation, attention.scores, seed=config.seed)
        trees, _ = rescore_trees(model.trees, validation, attention.scores, seed=config.seed)
        return move_family(attention, "blend", network, trees, config)
    if isinstance(model, TreesModel):
        scores, _ = rescore_trees(model, validation, attention.scores, seed=config.seed)
        return move_family(attention, "trees", None, scores, config)
    assert isinstance(model, artifact.Model)
    scores, _ = rescore(model, validation, attention.scores, seed=config.seed)
    return move_family(attention, "network", scores, None, config)


def move_family(
    attention: Attention, family: Family, network: Scores | None, trees: Scores | None, config: Config
) -> Attention:
    """The attention moved by what the model of each part showed; of a blend, each part's own by its own."""
    if family == "network":
        assert network is not None
        return move(replace(attention, trees=None), network, _shares(network), config.attention)
    assert trees is not None
    if family == "trees":
        return _move_trees(attention, trees, config)
    grown = _move_trees(attention, trees, config).trees
    assert grown is not None
    moved = move_family(attention, "network", network, None, config)
    return replace(moved, trees=replace(grown, features=trees.features))


def move_again(before: Attention, moved: Attention, family: Family, config: Config) -> Attention | None:
    """Where `before` moves by what `moved` says that the model showed; None where it does not say so."""
    own = moved.trees.features if moved.trees is not None else ()
    shown = [moved.scores, *([replace(moved.scores, features=own)] if family == "blend" else [])]
    if any(not s.features or any(f.share is None for f in s.features) for s in shown):
        return None
    network = moved.scores if family != "trees" else None
    return move_family(before, family, network, shown[-1] if family != "network" else None, config)


def _move_trees(attention: Attention, scores: Scores, config: Config) -> Attention:
    held = attention.trees
    own = replace(trees_view(attention), frugal=attention.frugal, pruned=attention.pruned, lean=attention.lean)
    moved = move(own, scores, _shares(scores), config.attention)
    trees = TreesAttention(
        temperature=moved.temperature,
        weights=moved.weights,
        trials=moved.trials,
        statistics=held is not None and held.statistics,
        blend=moved.blend,
        treatments=() if held is None else held.treatments,
        usage=None if held is None else held.usage,
        pairs=() if held is None else held.pairs,
        tried_pairs=() if held is None else held.tried_pairs,
    )
    return replace(moved, trees=trees)


def _shares(scores: Scores) -> Float[np.ndarray, " n"]:
    return np.array([f.share for f in scores.features], dtype=np.float64)


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
    places = layout(schema, encoding)
    feature_of = np.array([*places.feature_of, *(-1 for _ in places.pair_of)])
    count = len(schema.features)
    columns = np.asarray(model.booster.feature_importance("gain"), np.float64)
    gains = np.bincount(places.feature_of, weights=columns[: len(places.feature_of)], minlength=count)
    for pair, gain in zip(places.pair_of, columns[len(places.feature_of) :], strict=True):
        gains[list(places.members[pair])] += gain / 2
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
        order = random.permutation(len(rows))
        if any(feature in members for members in places.members):
            shuffled = matrix(encoding, _shuffled(used, schema, int(feature), order))
        else:
            shuffled = rows.copy()
            shuffled[:, mine] = rows[order][:, mine]
        added[:, feature] = losses(shuffled) - plain
    return model_scores(before, np.tile(gains, (len(added), 1)), added, len(target))


def _shuffled(columns: Columns, schema: Schema, feature: int, order: Int64[np.ndarray, " rows"]) -> Columns:
    """The rows with one categorical feature's values in another order, so that its pairs come out anew."""
    place = sum(f.kind != "numeric" for f in schema.features[:feature])
    own = columns.categorical[place].take(order)
    return replace(columns, categorical=(*columns.categorical[:place], own, *columns.categorical[place + 1 :]))


def control_attention(last: Move, settings: AttentionConfig) -> Attention:
    """What the uniform control of a run is planned by, of the move that its rounds ended with."""
    return even_twin(fit(last.trained.plan.attention.scores, None, settings), last.attention)


def even_twin(even: Attention, kept: Attention) -> Attention:
    """The even split for the trees as well; how categories go in and classes are weighed is not attention's doing, and stays."""
    even = replace(even, balance=kept.balance)
    if kept.trees is None:
        return even
    trees = TreesAttention(
        temperature=None, weights=even.weights, statistics=kept.trees.statistics, pairs=kept.trees.pairs
    )
    return replace(even, trees=trees)


def trial_count(attention: Attention) -> int:
    """Short trainings that attention had: of a blend, one of the twin's is of both parts; those of another domain's prior are too."""
    own = attention.trees.trials if attention.trees is not None else ()
    inherited = attention.inherited.trials if attention.inherited is not None else ()
    return max(len(attention.trials), len(own)) + len(inherited)


def tried_lean(attention: Attention) -> bool:
    """Whether one of its short trainings was of a lean split."""
    return any(trial.lean for trial in attention.trials)


def own_plan(trained: Trained, plans: Sequence[Plan], seed: int) -> Plan | None:
    """That of the control's plans by which training with that seed would give the same model again; None of none."""
    return next((plan for plan in plans if is_even(trained, plan, seed)), None)


def is_even(trained: Trained, plan: Plan, seed: int) -> bool:
    """Whether training the control's plan with that seed would give the same model again.

    Never where it was chosen among several, went on from another one or through a shortage of memory, or the clock cut it short.
    """
    own = trained.plan
    plain = trained.choice is None and trained.transfer is None and not trained.revisions and trained.stopped != "time"
    return (
        plain
        and trained.seed == seed
        and _without_reasons(own.capacity) == _without_reasons(plan.capacity)
        and [w.weight for w in own.attention.weights] == [w.weight for w in plan.attention.weights]
        and start_alike(own.attention, plan.attention, own.attention.scores.problem.schema, own.capacity)
        and (own.family, own.trees, own.parts) == (plan.family, plan.trees, plan.parts)
        and (own.execution, own.execution_plan) == (plan.execution, plan.execution_plan)
    )


def _without_reasons(capacity: Capacity) -> Capacity:
    return replace(capacity, features=tuple(replace(f, reason="") for f in capacity.features))
