"""Short trainings that choose temperature and blend on validation data; the even split is always among the candidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypedDict

import numpy as np
from jaxtyping import Float

from abi.attention.fit import fit
from abi.errors import PlanInfeasible
from abi.inputs.categorical import shares_rows
from abi.planning.run_time import TOGETHER
from abi.planning.starting import lean_differs
from abi.problem import Schema
from abi.training.choice import flattest, pick_control, trial_of
from abi.training.family import train
from abi.training.rescore import rescore
from abi.training.rounds import plan_change
from abi.training.score_blend import fit_to_model
from abi.trees_capacity import TreesCapacity
from abi.types import Attention, Plan, Scores, Trial, Usage

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
"""A pilot of fewer steps ranks how fast a split learns, not how well,"""
PATIENT_S: Final = 5.0
"""but none takes longer than this for the sake of that; longer ones together take `TOGETHER` of a training at most."""
LEAST_EPOCHS: Final = 2
CLEARLY_WORSE: Final = 2.0
"""Standard errors by which a steeper split is worse when still steeper ones are not tried any more."""

CHEAPER: Final = 2.0
"""Standard errors by which a split that is cheaper may be worse,"""
COSTLY: Final = 0.01
"""but by no more than this share of the loss of a model that knows nothing."""
PROCESSES: Final = 1
"""To start several takes longer than a pilot."""


def choose_temperature(
    scores: Scores,
    config: Config,
    plan: Callable[[Attention], Plan],
    train_columns: Columns,
    validation_columns: Columns,
) -> Attention:
    """The attention whose short training has the least validation loss; ties and noise go to the flatter one.

    Each candidate is planned in full and trained for a few epochs on the same sample of rows with the same seed. Where
    no feature carries signal there is nothing to choose, and the split stays even. Where a limit binds, the even split is tried
    lean as well, and so is a steeper one that is better than that. The flat split's model also says how
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
    caution, most = asked_caution(scores, config), most_loss(scores.problem.schema)
    trials: list[Trial] = []
    models: list[Model] = []
    losses: list[Float[np.ndarray, " rows"]] = []

    def planned(
        temperature: float | None = None, *, frugal: bool = False, pruned: bool = False, lean: bool = False
    ) -> Plan | PlanInfeasible:
        try:
            return plan(fit(scores, temperature, config.attention, frugal=frugal, pruned=pruned, lean=lean))
        except PlanInfeasible as error:
            return error

    def attempt(planned: Plan) -> None:
        pilot = shortened(planned, len(rows_in.row_numbers), config.iterate.pilot, of)
        fitted = train(pilot, rows_in, validation_columns, config, seed=config.seed, processes=PROCESSES)
        preferred = losses[flattest(trials, caution, most)] if trials else None
        trials.append(
            trial_of(planned.attention, fitted.trained.loss, fitted.trained.metric, fitted.row_losses, preferred)
        )
        models.append(fitted.model)
        losses.append(fitted.row_losses)

    made = [planned(frugal=s != "even", pruned=s == "pruned") for s in structures_of(scores)]
    fits = [p for p in made if isinstance(p, Plan)]
    bound = bool(fits) and lean_differs(fits[0], len(train_columns), config.training)
    if bound:
        made.insert(1, planned(lean=True))
    # a pruned split of a network that the envelope has room for is no other than a frugal one
    flat = [p for p in made if isinstance(p, Plan) and (p.capacity.pruning is not None or not p.attention.pruned)]
    if not flat:
        raise next(error for error in made if isinstance(error, PlanInfeasible))
    several = len(scores.features) > 1
    of = len(flat) + bound + several * len(config.attention.temperatures) + config.attention.blend
    for one in flat:
        attempt(one)
    first = flattest(trials, caution, most)
    plans, chosen = [flat[first]], flat[first].attention
    usage: Usage | None = None
    for temperature in sorted(config.attention.temperatures, reverse=True) if several else ():
        plans.append(plan(fit(scores, temperature, config.attention, **structure_of(chosen))))
        attempt(plans[-1])
        if clearly_worse(trials[-1]):
            break
    best = trials[flattest(trials, caution, most)]
    if bound and not best.lean and (best.frugal or best.temperature is not None):
        lean = planned(best.temperature, frugal=best.frugal, pruned=best.pruned, lean=True)
        if isinstance(lean, Plan):
            plans.append(lean)
            attempt(lean)
    if config.attention.blend:
        _, shares = rescore(models[first], validation_columns, scores, seed=config.seed)  # type: ignore[arg-type]  # a network
        heard = tuple(f.width > 0 for f in flat[first].capacity.features)
        usage = Usage(shares=tuple(shares.tolist()), heard=heard)
        blended = fit_to_model(scores, usage, config, **structure_of(chosen))
        last = None if blended is None else plan(blended)
        if last is not None and min(plan_change(other, last) for other in plans) >= config.iterate.plan_change:
            plans.append(last)
            attempt(last)
    return chosen_of(scores, tuple(trials), usage, config)


def chosen_of(scores: Scores, trials: tuple[Trial, ...], usage: Usage | None, config: Config) -> Attention:
    """The attention that the trials decide for; it needs no training, so what is recorded of them can be judged again.

    Args:
        scores: of the features.
        trials: what was tried, from flat to steep; none where no feature carries signal.
        usage: what a fitted blend is fitted to.
        config: floor and cap, caution, the settings' blend.
    """
    if not trials:
        return fit(scores, None, config.attention)
    best = trials[flattest(trials, asked_caution(scores, config), most_loss(scores.problem.schema))]
    if best.blended:
        assert usage is not None
        found = fit_to_model(scores, usage, config, **structure_of(best))
        assert found is not None
    else:
        found = fit(scores, best.temperature, config.attention, **structure_of(best))
    return replace(found, trials=trials, usage=usage)


class Structured(TypedDict):
    """What `abi.attention.fit.fit` is asked for besides the temperature."""

    frugal: bool
    pruned: bool
    lean: bool


def structure_of(split: Attention | Trial) -> Structured:
    """That of a split, to be fitted again."""
    return {"frugal": split.frugal, "pruned": split.pruned, "lean": split.lean}


def structures_of(scores: Scores) -> tuple[Structure, ...]:
    """What may be tried: no pruned split with pictures, whose weights all regions share."""
    frugal: tuple[Structure, ...] = ("frugal",) if can_be_frugal(scores) else ()
    return ("even", *frugal) if scores.problem.schema.grids else ("even", *frugal, "pruned")


def asked_caution(scores: Scores, config: Config) -> float:
    """Standard errors by which a steeper split has to be better.

    Of pictures it takes fewer multiply-accumulates than the even split, so it is kept unless it is worse by twice as many
    (or by `most_loss`).
    """
    return -CHEAPER * config.attention.caution if scores.problem.schema.grids else config.attention.caution


def most_loss(schema: Schema) -> float:
    """The loss that a split which is cheaper may add, in the unit of a training's loss."""
    return COSTLY * (1.0 if schema.task == "regression" else math.log(max(2, len(schema.classes))))


def can_be_frugal(scores: Scores) -> bool:
    """Whether a frugal split would differ: a feature without signal, a category of many values, or a text."""
    features = scores.problem.schema.features
    return any(
        f.kind == "text" or shares_rows(f) or not s.carries_signal
        for f, s in zip(features, scores.features, strict=True)
    )


@dataclass(frozen=True)
class ControlPilots:
    """What the control's pilots decide: the plan and the first seed, and the losses that they decide by."""

    plan: Plan
    seed: int
    losses: tuple[float, ...]


def choose_control(
    plans: Sequence[Plan], config: Config, *, trials: int, train_columns: Columns, validation_columns: Columns
) -> ControlPilots:
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
        pilot = shortened(plan, len(rows_in.row_numbers), config.iterate.pilot, trials)
        fitted = train(pilot, rows_in, validation_columns, config, seed=seed, processes=PROCESSES)
        losses.append(fitted.trained.loss)
    place, first = pick_control(losses, len(plans), config.seed)
    return ControlPilots(plans[place], first, tuple(losses))


def sample(columns: Columns, config: Config) -> Columns:
    """The rows of a pilot."""
    random = np.random.default_rng(config.seed)
    rows = len(columns.row_numbers)
    return columns.take(np.sort(random.permutation(rows)[: config.iterate.pilot_rows]))


def clearly_worse(trial: Trial) -> bool:
    """Whether it is worse than the one that was preferred before by more than noise."""
    return trial.gain is not None and trial.error is not None and trial.gain < -CLEARLY_WORSE * trial.error


def shortened(plan: Plan, rows: int, share: float, of: int = 1) -> Plan:
    """The same capacity on fewer rows and epochs; of trees, fewer rounds at a higher rate.

    Args:
        plan: of the training that a choice is made for.
        rows: of the pilot.
        share: of the epochs.
        of: how many pilots there are.
    """
    execution = plan.execution
    batch = min(execution.batch_rows, rows)
    each = -(-rows // batch)
    step_s = plan.predicted.train_time_s / max(1, execution.steps)
    limit_s = plan.envelope.train_time_s
    patient_s = PATIENT_S if limit_s is None else min(PATIENT_S, TOGETHER * limit_s / of)
    enough = -(-min(LEAST_STEPS, int(patient_s / step_s) if step_s else LEAST_STEPS) // each)
    if round(share * execution.epochs) * each * step_s > patient_s:
        share = min(share, TOGETHER / of)
        enough = max(enough, LEAST_EPOCHS)
    epochs = min(execution.epochs, max(1, round(share * execution.epochs), enough))
    steps = epochs * each
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
