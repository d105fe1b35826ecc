"""Short trainings that choose temperature and blend on validation data; the even split is always among the candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from jaxtyping import Float

from abi.attention.fit import fit
from abi.errors import PlanInfeasible
from abi.planning.ladder import shares_rows
from abi.training.family import train
from abi.training.rescore import rescore
from abi.training.rounds import plan_change
from abi.training.score_blend import fit_to_model
from abi.types import Attention, Plan, Scores, TreesCapacity, Trial

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns
    from abi.families.family import Model


Structure = Literal["even", "frugal", "pruned"]
STRUCTURES: Final[tuple[Structure, ...]] = ("even", "frugal", "pruned")
"""From flat to steep."""

FASTEST_RATE: Final = 0.3
LEAST_PATIENCE: Final = 10
LEAST_STEPS: Final = 600
"""A pilot of fewer steps ranks how fast a split learns, not how well."""


def choose_temperature(
    scores: Scores,
    config: Config,
    plan: Callable[[Attention], Plan],
    train_columns: Columns,
    validation_columns: Columns,
) -> Attention:
    """The attention whose short training has the least validation loss; ties and noise go to the flatter one.

    Each candidate is planned in full and trained for a few epochs on the same sample of rows with the same seed. Where
    no feature carries signal there is nothing to choose, and the split stays even. The flat split's model also says how
    much it uses each feature: scores blended to come close to that are the last candidate, unless their plan is as good
    as that of another one.

    Args:
        scores: of the features.
        config: candidates and the length of a pilot.
        plan: attention -> plan, under the envelope.
        train_columns: rows to train on; at most `iterate.pilot_rows` are used.
        validation_columns: rows that decide.
    """
    if not any(f.carries_signal for f in scores.features):
        return fit(scores, None, config.attention)
    rows_in = sample(train_columns, config)
    trials: list[Trial] = []
    models: list[Model] = []

    def planned(structure: Structure) -> Plan | PlanInfeasible:
        try:
            return plan(fit(scores, None, config.attention, frugal=structure != "even", pruned=structure == "pruned"))
        except PlanInfeasible as error:
            return error

    def attempt(planned: Plan) -> Float[np.ndarray, " rows"]:
        pilot = shortened(planned, len(rows_in.row_numbers), config.iterate.pilot)
        fitted = train(pilot, rows_in, validation_columns, config, seed=config.seed)
        trials.append(trial_of(planned.attention, fitted.trained.loss, fitted.trained.metric))
        models.append(fitted.model)
        return fitted.row_losses

    made = [planned(structure) for structure in (STRUCTURES if can_be_frugal(scores) else ("even", "pruned"))]
    # a pruned split of a network that the envelope has room for is no other than a frugal one
    flat = [p for p in made if isinstance(p, Plan) and (p.capacity.pruning is not None or not p.attention.pruned)]
    if not flat:
        raise next(error for error in made if isinstance(error, PlanInfeasible))
    tried = [attempt(one) for one in flat]
    first = flattest(tried, config.attention.caution)
    plans, losses, chosen = [flat[first]], [tried[first]], flat[first].attention
    if len(scores.features) > 1:
        for temperature in sorted(config.attention.temperatures, reverse=True):
            steeper = fit(scores, temperature, config.attention, frugal=chosen.frugal, pruned=chosen.pruned)
            plans.append(plan(steeper))
            losses.append(attempt(plans[-1]))
    if config.attention.blend:
        _, shares = rescore(models[first], validation_columns, scores, seed=config.seed)  # type: ignore[arg-type]  # a network
        heard = np.array([f.width > 0 for f in flat[first].capacity.features])
        blended = fit_to_model(scores, shares, heard, config, frugal=chosen.frugal, pruned=chosen.pruned)
        last = None if blended is None else plan(blended)
        if last is not None and min(plan_change(other, last) for other in plans) >= config.iterate.plan_change:
            plans.append(last)
            losses.append(attempt(last))
    best = plans[flattest(losses, config.attention.caution)].attention
    return replace(best, trials=tuple(trials))


def trial_of(attention: Attention, loss: float, metric: float | None) -> Trial:
    """What a pilot of `attention` came to."""
    return Trial(
        temperature=attention.temperature,
        loss=loss,
        metric=metric,
        frugal=attention.frugal,
        pruned=attention.pruned,
        blended=attention.blend is not None,
    )


def can_be_frugal(scores: Scores) -> bool:
    """Whether a frugal split would differ: a feature without signal, a category of many values, or a text."""
    features = scores.problem.schema.features
    return any(
        f.kind == "text" or shares_rows(f) or not s.carries_signal
        for f, s in zip(features, scores.features, strict=True)
    )


def flattest(losses: Sequence[Float[np.ndarray, " rows"]], caution: float) -> int:
    """Index of the flattest split that no steeper one beats by more than noise.

    A steeper split is taken where its mean loss is lower by more than `caution` standard errors of the paired
    difference over the validation rows (the one-standard-error rule of Breiman et al. 1984, on paired rows).

    Args:
        losses: per row, from flat to steep.
        caution: standard errors asked for.
    """
    chosen = 0
    for steeper in range(1, len(losses)):
        gained = losses[chosen] - losses[steeper]
        error = gained.std(ddof=1) / np.sqrt(len(gained)) if len(gained) > 1 else np.inf
        if gained.mean() > caution * error:
            chosen = steeper
    return chosen


def choose_control(
    plans: Sequence[Plan], config: Config, *, trials: int, train_columns: Columns, validation_columns: Columns
) -> tuple[Plan, int]:
    """The control's pilots: as many short trainings as attention had, over plans and then seeds; the best of them.

    Args:
        plans: of the even split, the usual one first.
        config: length of a pilot.
        trials: how many; with fewer than two there is nothing to choose.
        train_columns: rows to train on; at most `iterate.pilot_rows` are used.
        validation_columns: rows that decide.
    """
    rows_in = sample(train_columns, config)
    losses = []
    for trial in range(trials if trials > 1 else 0):
        plan, seed = plans[trial % len(plans)], config.seed + trial // len(plans)
        pilot = shortened(plan, len(rows_in.row_numbers), config.iterate.pilot)
        losses.append(train(pilot, rows_in, validation_columns, config, seed=seed).trained.loss)
    best = losses.index(min(losses)) if losses else 0
    return plans[best % len(plans)], config.seed + best // len(plans)


def sample(columns: Columns, config: Config) -> Columns:
    """The rows of a pilot."""
    random = np.random.default_rng(config.seed)
    rows = len(columns.row_numbers)
    return columns.take(np.sort(random.permutation(rows)[: config.iterate.pilot_rows]))


def shortened(plan: Plan, rows: int, share: float) -> Plan:
    """The same capacity on fewer rows and epochs; of trees, fewer rounds at a higher rate."""
    execution = plan.execution
    batch = min(execution.batch_rows, rows)
    enough = -(-LEAST_STEPS // -(-rows // batch))
    epochs = min(execution.epochs, max(1, round(share * execution.epochs), enough))
    steps = epochs * -(-rows // batch)
    trees = None if plan.trees is None else hurried(plan.trees, share)
    return replace(plan, execution=replace(execution, epochs=epochs, batch_rows=batch, steps=steps), trees=trees)


def hurried(trees: TreesCapacity, share: float) -> TreesCapacity:
    """The same trees in fewer rounds at a higher rate, which ranks splits alike."""
    rate = max(trees.learning_rate, min(FASTEST_RATE, trees.learning_rate / share))
    faster = trees.learning_rate / rate
    return replace(
        trees,
        rounds=max(1, round(trees.rounds * faster)),
        patience=max(LEAST_PATIENCE, round(trees.patience * faster)),
        learning_rate=rate,
    )
