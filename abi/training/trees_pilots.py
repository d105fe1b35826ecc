"""Attention for each family that a plan trains: the network's pilots, the trees' pilots, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from abi.attention.fit import fit
from abi.families.trees import TreesModel
from abi.planning.trees import has_ids
from abi.training.fitted import Fitted
from abi.training.pilots import choose_temperature, flattest, hurried, sample, trial_of
from abi.training.revise import rescore_trees
from abi.training.rounds import plan_change
from abi.training.score_blend import fit_blended, fit_to_model
from abi.training.trees import train_trees
from abi.types import Attention, Family, Plan, Scores, TreesAttention

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

Planner = Callable[[Attention, Family | None], Plan]


def fit_families(
    scores: Scores, config: Config, plan: Planner, train_columns: Columns, validation_columns: Columns
) -> Attention:
    """The attention of every family that the settings and the envelope allow, each fitted by its own short trainings.

    Args:
        scores: of the features.
        config: candidates and the length of a pilot.
        plan: (attention, family or None for that of the settings) -> plan, under the envelope.
        train_columns: rows to train on; at most `iterate.pilot_rows` are used.
        validation_columns: rows that decide.
    """
    # where the even split does not fit, a pruned one may
    family = plan(fit(scores, None, config.attention, pruned=True), None).family
    if family == "network":
        return choose_temperature(scores, config, lambda a: plan(a, "network"), train_columns, validation_columns)
    own = choose_trees(scores, config, plan, train_columns, validation_columns)
    if family == "trees":
        if own.blend is None:
            return replace(fit(scores, own.temperature, config.attention, own.trials), trees=own)
        assert own.temperature is not None
        return replace(fit_blended(scores, own.blend, own.temperature, config, own.trials), trees=own)
    both = choose_temperature(scores, config, lambda a: plan(a, "network"), train_columns, validation_columns)
    return replace(both, trees=own)


def choose_trees(
    scores: Scores, config: Config, plan: Planner, train_columns: Columns, validation_columns: Columns
) -> TreesAttention:
    """The trees' attention: the candidate with the least validation loss; ties and noise go to the flatter one.

    Where there are features of many values, the even split first decides whether these go in as target statistics.
    The rule for both is `abi.training.pilots.flattest`.
    """
    rows_in = sample(train_columns, config)

    def attention(fitted: Attention, statistics: bool) -> Attention:
        own = TreesAttention(
            temperature=fitted.temperature, weights=fitted.weights, statistics=statistics, blend=fitted.blend
        )
        return replace(fitted, trees=own)

    def pilot(planned: Plan) -> Fitted[TreesModel]:
        assert planned.trees is not None
        short = replace(planned, trees=hurried(planned.trees, config.iterate.pilot))
        return train_trees(short, rows_in, validation_columns, config, seed=config.seed)

    signal = any(f.carries_signal for f in scores.features)
    temperatures = sorted(config.attention.temperatures, reverse=True) if signal else []
    ids = has_ids(scores.problem.schema.features)
    even = fit(scores, None, config.attention)
    if not temperatures and not ids:
        return TreesAttention(temperature=None, weights=even.weights)
    flat = [plan(attention(even, statistics), "trees") for statistics in ((False, True) if ids else (False,))]
    tried = [pilot(planned) for planned in flat]
    first = flattest([p.row_losses for p in tried], config.attention.caution)
    statistics = first == 1
    plans, found = [flat[first]], [tried[first]]
    for temperature in temperatures:
        plans.append(plan(attention(fit(scores, temperature, config.attention), statistics), "trees"))
        found.append(pilot(plans[-1]))
    if config.attention.blend and signal:
        _, shares = rescore_trees(found[0].model, validation_columns, scores, seed=config.seed)
        blended = fit_to_model(scores, shares, np.ones(len(scores.features), dtype=bool), config)
        planned = None if blended is None else plan(attention(blended, statistics), "trees")
        if planned is not None and min(plan_change(other, planned) for other in plans) >= config.iterate.plan_change:
            plans.append(planned)
            found.append(pilot(planned))
    chosen = plans[flattest([p.row_losses for p in found], config.attention.caution)].attention
    assert chosen.trees is not None
    trials = tuple(trial_of(p.attention, f.trained.loss, f.trained.metric) for p, f in zip(plans, found, strict=True))
    return replace(chosen.trees, trials=trials)
