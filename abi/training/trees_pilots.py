"""Attention for each family that a plan trains: the network's pilots, the trees' pilots, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from abi.attention.fit import fit
from abi.families.trees import TreesModel
from abi.planning.trees import has_ids
from abi.training.fitted import Fitted
from abi.training.pilots import can_be_frugal, choose_temperature, flattest, hurried, sample
from abi.training.trees import train_trees
from abi.types import Attention, Family, Plan, Scores, TreesAttention, Trial

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
    frugal = can_be_frugal(scores)  # where the even split does not fit, this one may
    family = plan(fit(scores, None, config.attention, frugal=frugal), None).family
    if family == "network":
        return choose_temperature(scores, config, lambda a: plan(a, "network"), train_columns, validation_columns)
    own = choose_trees(scores, config, plan, train_columns, validation_columns)
    if family == "trees":
        return replace(fit(scores, own.temperature, config.attention, own.trials), trees=own)
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

    def attention(temperature: float | None, statistics: bool) -> Attention:
        fitted = fit(scores, temperature, config.attention)
        own = TreesAttention(temperature=temperature, weights=fitted.weights, statistics=statistics)
        return replace(fitted, trees=own)

    def pilot(temperature: float | None, statistics: bool) -> Fitted[TreesModel]:
        planned = plan(attention(temperature, statistics), "trees")
        assert planned.trees is not None
        short = replace(planned, trees=hurried(planned.trees, config.iterate.pilot))
        return train_trees(short, rows_in, validation_columns, config, seed=config.seed)

    signal = any(f.carries_signal for f in scores.features)
    temperatures = sorted(config.attention.temperatures, reverse=True) if signal else []
    ids = has_ids(scores.problem.schema.features)
    if not temperatures and not ids:
        return TreesAttention(temperature=None, weights=fit(scores, None, config.attention).weights)
    even = [pilot(None, statistics) for statistics in ((False, True) if ids else (False,))]
    statistics = flattest([p.row_losses for p in even], config.attention.caution) == 1
    tried = [even[int(statistics)], *(pilot(t, statistics) for t in temperatures)]
    candidates: Sequence[float | None] = (None, *temperatures)
    best = candidates[flattest([p.row_losses for p in tried], config.attention.caution)]
    trials = tuple(
        Trial(temperature=t, loss=p.trained.loss, metric=p.trained.metric)
        for t, p in zip(candidates, tried, strict=True)
    )
    return TreesAttention(
        temperature=best, weights=fit(scores, best, config.attention).weights, trials=trials, statistics=statistics
    )
