"""Attention for each family that a plan trains: the network's pilots, the trees' pilots, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from abi.attention.fit import fit
from abi.errors import PlanInfeasible
from abi.families.trees import TreesModel
from abi.inputs.pairs import find_pairs, thinned
from abi.planning.trees import has_ids
from abi.training.balancing import choose_balance, decided_again
from abi.training.choice import flattest, trial_of
from abi.training.fitted import Fitted
from abi.training.pilots import choose_temperature, chosen_of, hurried, sample
from abi.training.revise import rescore_trees
from abi.training.rounds import plan_change
from abi.training.score_blend import fit_to_model
from abi.training.trees import train_trees
from abi.trees_capacity import Pair
from abi.types import Attention, Family, Plan, Scores, TreesAttention, Trial, Usage

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

STATISTICS: Final = 1
PAIRS: Final = 2
"""Places among the treatments, of which the first has categories as they are."""

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
    family = families_of(scores, config, plan)
    held = choose_balance(
        scores, config, plan, "trees" if family == "trees" else "network", train_columns, validation_columns
    )

    def balanced(attention: Attention, asked: Family | None) -> Plan:
        return plan(replace(attention, balance=held), asked)

    own = None if family == "network" else choose_trees(scores, config, balanced, train_columns, validation_columns)
    if family == "trees":
        assert own is not None
        return replace(trees_alone(scores, own, config), balance=held)
    network = choose_temperature(scores, config, lambda a: balanced(a, "network"), train_columns, validation_columns)
    return replace(network, trees=own, balance=held)


def fit_again(scores: Scores, recorded: Attention, config: Config, plan: Planner) -> Attention:
    """What `fit_families` decides where the short trainings come to what `recorded` says of them; none is repeated."""
    balance = decided_again(recorded.balance, scores, config)
    family, held = families_of(scores, config, plan), recorded.trees
    own = None if family == "network" or held is None else trees_of(scores, held.treatments, held.trials, held.usage, held.tried_pairs, config)  # fmt: skip
    if family == "trees" and own is not None:
        return replace(trees_alone(scores, own, config), balance=balance)
    return replace(chosen_of(scores, recorded.trials, recorded.usage, config), trees=own, balance=balance)


def families_of(scores: Scores, config: Config, plan: Planner) -> str:
    """Which families attention is fitted for; where the even split does not fit, a pruned one may."""
    return plan(fit(scores, None, config.attention, pruned=True), None).family


def trees_alone(scores: Scores, own: TreesAttention, config: Config) -> Attention:
    """The attention where trees are all there is."""
    return replace(chosen_of(scores, own.trials, own.usage, config), usage=None, trees=own)


def trees_of(
    scores: Scores,
    treatments: tuple[Trial, ...],
    trials: tuple[Trial, ...],
    usage: Usage | None,
    pairs: tuple[Pair, ...],
    config: Config,
) -> TreesAttention:
    """The trees' attention that their trials decide for; it needs no training.

    Args:
        scores: of the features.
        treatments: the trials of the even split that decide how categories go in (`STATISTICS`, `PAIRS`); none where none has many values.
        trials: the others, and the better one of those first.
        usage: what a fitted blend is fitted to.
        pairs: those of the last of these.
        config: floor and cap, caution, the settings' blend.
    """
    chosen, treated = chosen_of(scores, trials, usage, config), flattest(treatments, config.attention.caution)
    return TreesAttention(
        temperature=chosen.temperature,
        weights=chosen.weights,
        trials=trials,
        statistics=treated >= STATISTICS,
        blend=chosen.blend,
        treatments=treatments,
        usage=usage,
        pairs=pairs if treated == PAIRS else (),
        tried_pairs=pairs,
    )


def choose_trees(
    scores: Scores, config: Config, plan: Planner, train_columns: Columns, validation_columns: Columns
) -> TreesAttention:
    """The trees' attention: the candidate with the least validation loss; ties and noise go to the flatter one.

    Where there are features of many values, the even split first decides whether these go in as target statistics, and
    pairs of them as well, as far as these fit the envelope.
    The rule for all is `abi.training.choice.flattest`.
    """
    rows_in = sample(train_columns, config)

    def attention(fitted: Attention, statistics: bool, pairs: tuple[Pair, ...] = ()) -> Attention:
        own = TreesAttention(
            temperature=fitted.temperature,
            weights=fitted.weights,
            statistics=statistics,
            blend=fitted.blend,
            pairs=pairs,
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
        return trees_of(scores, (), (), None, (), config)
    flat: list[Plan] = [plan(attention(even, False), "trees")]
    pairs: tuple[Pair, ...] = ()
    if ids:
        flat += _possible(plan, attention(even, True))
    if len(flat) > STATISTICS:
        relevance = {f.feature: f.relevance for f in scores.features}
        pairs = find_pairs(scores.problem.schema, train_columns.categorical, relevance)
        while pairs and len(flat) == PAIRS:
            flat += [p for p in _possible(plan, attention(even, True, pairs)) if _room(p, flat[STATISTICS], config)]
            pairs = pairs if len(flat) > PAIRS else thinned(pairs)
    tried = [pilot(planned) for planned in flat]
    treatments = _judged(flat, tried, config) if len(flat) > 1 else ()
    first = flattest(treatments, config.attention.caution)
    statistics, taken = first >= STATISTICS, pairs if first == PAIRS else ()
    plans, found = [flat[first]], [tried[first]]
    for temperature in temperatures:
        plans.append(plan(attention(fit(scores, temperature, config.attention), statistics, taken), "trees"))
        found.append(pilot(plans[-1]))
    usage: Usage | None = None
    if config.attention.blend and signal:
        _, shares = rescore_trees(found[0].model, validation_columns, scores, seed=config.seed)
        usage = Usage(shares=tuple(shares.tolist()), heard=(True,) * len(scores.features))
        blended = fit_to_model(scores, usage, config)
        planned = None if blended is None else plan(attention(blended, statistics, taken), "trees")
        if planned is not None and min(plan_change(other, planned) for other in plans) >= config.iterate.plan_change:
            plans.append(planned)
            found.append(pilot(planned))
    return trees_of(scores, treatments, _judged(plans, found, config), usage, pairs, config)


def _room(planned: Plan, single: Plan, config: Config) -> bool:
    """Whether beside the tables of pairs there is room for trees like those without, and for a network that is planned too."""
    trees, before, limit = planned.trees, single.trees, planned.envelope.parameters
    assert trees is not None
    assert before is not None
    like = trees.leaves == before.leaves and 2 * trees.rounds >= before.rounds
    return like and (config.training.family == "trees" or limit is None or 2 * trees.parameters <= limit)


def _possible(plan: Planner, attention: Attention) -> list[Plan]:
    """The trees' plan, or none where it does not fit the envelope: tables of statistics can be large."""
    try:
        return [plan(attention, "trees")]
    except PlanInfeasible:
        return []


def _judged(plans: Sequence[Plan], found: Sequence[Fitted[TreesModel]], config: Config) -> tuple[Trial, ...]:
    """The trials with the evidence for each against the one that was preferred before it."""
    trials: list[Trial] = []
    for planned, fitted in zip(plans, found, strict=True):
        preferred = found[flattest(trials, config.attention.caution)].row_losses if trials else None
        trained = fitted.trained
        trials.append(trial_of(planned.attention, trained.loss, trained.metric, fitted.row_losses, preferred))
    return tuple(trials)
