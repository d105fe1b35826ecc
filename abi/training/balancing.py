"""Which way of weighing classes is kept: as asked, or as short trainings of the even split show on validation rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast, get_args

import numpy as np
from jaxtyping import Float

from abi.attention.fit import fit
from abi.errors import UsageError
from abi.families.family import judged
from abi.metrics import BY_FREQUENCY, LOWER_IS_BETTER, Draws, Statistic, primary_metric, statistics
from abi.training.family import train
from abi.training.fitted import groups_in, rounded
from abi.training.pilots import PROCESSES, sample, shortened
from abi.types import Attention, BalanceTrial, Balancing, ClassBalance, Family, Plan, Scores

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

METHODS: Final[tuple[Balancing, ...]] = get_args(Balancing)
EVEN_HANDED: Final = frozenset({"balanced_accuracy", "f1_macro", *BY_FREQUENCY})
"""Metrics in which a class counts for more than its rows."""
IMBALANCE: Final = 3.0
"""Of the most frequent class's rows over the rarest one's, from which on classes are not taken for balanced."""
RESAMPLES: Final = 200
CHUNK_VALUES: Final = 8_000_000
"""Counts of resamples that are held at once."""
WORDS: Final[dict[Balancing | None, str]] = {
    None: "no weighing",
    "class_balanced": "weights by effective numbers of rows",
    "logit_adjusted": "logits adjusted by the classes' shares",
    "resampled": "rows drawn by the root of their class's frequency",
}

Planner = Callable[[Attention, Family | None], Plan]


def choose_balance(
    scores: Scores, config: Config, plan: Planner, family: Family, train_columns: Columns, validation_columns: Columns
) -> ClassBalance | None:
    """How classes are weighed; None where nothing asks for it.

    `training.balance: auto` looks only where the run's metric gives rare classes more weight than their rows: accuracy, log
    loss and ROC AUC are of the rows as they come, for which the plain likelihood is the right loss.

    Args:
        scores: of the features.
        config: what is asked for, the metric, the length of a pilot.
        plan: attention and family -> plan, under the envelope.
        family: of the short trainings.
        train_columns: rows to train on.
        validation_columns: rows that decide.

    Raises:
        UsageError: classes are to be weighed, and the target has none.
    """
    asked, schema = config.training.balance, scores.problem.schema
    if asked in {"auto", "none"} and not _may_pay(scores, config):
        return None
    if schema.task not in {"binary", "multiclass"}:
        msg = f"Expected a target of classes for training.balance={asked}, got task {schema.task}: leave it at auto."
        raise UsageError(msg)
    if asked != "auto":
        method = cast("Balancing", asked)
        return ClassBalance(method=method, reason=f"training.balance asks for {WORDS[method]}")
    groups = groups_in(train_columns, schema)
    if groups is None or groups.imbalance < IMBALANCE:
        return ClassBalance(reason=f"no class has {IMBALANCE:g} times the rows of another, so none is weighed more")
    rows = sample(train_columns, config)
    target, metric = validation_columns.target, primary_metric(schema.task, config.evaluation.metric)
    assert target is not None
    even = fit(scores, None, config.attention)
    functions = list[Statistic]()
    tried: tuple[Balancing | None, ...] = (None, *METHODS)
    for way in tried:
        planned = plan(replace(even, balance=ClassBalance(method=way, reason="tried")), family)
        pilot = shortened(planned, len(rows), config.iterate.pilot)
        fitted = train(pilot, rows, validation_columns, config, seed=config.seed, processes=PROCESSES)
        prediction = judged(fitted.model, validation_columns)
        functions.append(statistics(schema.task, target, prediction, groups)[metric])
    sign, trials = -1.0 if metric in LOWER_IS_BETTER else 1.0, list[BalanceTrial]()
    figures = drawn(functions, len(target), config.seed)
    for way, draws in zip(tried, figures, strict=True):
        gained = sign * draws - sign * figures[0]
        known = way is not None and np.isfinite(gained).all()
        trials.append(
            BalanceTrial(
                method=way,
                metric=rounded(float(draws[0])) if np.isfinite(draws[0]) else None,
                gain=rounded(float(gained[0])) if known else None,
                error=rounded(float(gained[1:].std(ddof=1))) if known else None,
            )
        )
    return decided(tuple(trials), metric, config)


def drawn(functions: Sequence[Statistic], rows: int, seed: int) -> Float[np.ndarray, "functions draws"]:
    """Each function of all rows, then of resamples of them, in chunks that fit the memory."""
    random, chance = np.random.default_rng(seed), np.full(rows, 1 / rows)
    chunks = -(-(1 + RESAMPLES) * rows // CHUNK_VALUES)
    parts: list[list[Draws]] = [[] for _ in functions]
    for places in np.array_split(np.arange(1 + RESAMPLES), min(chunks, RESAMPLES)):
        counts = np.ones((len(places), rows))
        counts[places > 0] = random.multinomial(rows, chance, size=int((places > 0).sum()))
        for function, found in zip(functions, parts, strict=True):
            found.append(function(counts))
    return np.array([np.concatenate(found) for found in parts])


def decided(trials: tuple[BalanceTrial, ...], metric: str, config: Config) -> ClassBalance:
    """The method with the most gain, of those that gain more than `attention.caution` standard errors; else none."""
    caution = config.attention.caution
    better = [t for t in trials if t.gain is not None and t.error is not None and t.gain > caution * t.error]
    if not better:
        return ClassBalance(
            trials=trials, reason=f"no weighing of classes gained {metric} beyond noise on validation rows"
        )
    best = max(better, key=lambda t: t.gain or 0.0)
    reason = (
        f"{WORDS[best.method]} gained {best.gain:.3f} of {metric} on validation rows (standard error {best.error:.3f})"
    )
    return ClassBalance(method=best.method, trials=trials, reason=reason)


def decided_again(recorded: ClassBalance | None, scores: Scores, config: Config) -> ClassBalance | None:
    """The same from what was recorded of the trials; no training is repeated."""
    if recorded is None or not recorded.trials:
        return recorded
    return decided(recorded.trials, primary_metric(scores.problem.schema.task, config.evaluation.metric), config)


def _may_pay(scores: Scores, config: Config) -> bool:
    schema = scores.problem.schema
    metric = primary_metric(schema.task, config.evaluation.metric)
    return config.training.balance == "auto" and schema.task in {"binary", "multiclass"} and metric in EVEN_HANDED
