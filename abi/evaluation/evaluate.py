"""The kept model on held-out rows, beside its controls, on the same bootstrap resamples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64, Shaped

from abi.data.columns import without_vectors
from abi.errors import DataError
from abi.evaluation.baseline import Baseline
from abi.evaluation.bootstrap import block_rows, bootstrap, estimate, gain
from abi.evaluation.calibration import calibration
from abi.evaluation.ranking import ranking
from abi.evaluation.signal import constant, signal
from abi.evaluation.slices import slices
from abi.families.family import judged
from abi.frequency import ClassGroups, Lean
from abi.metrics import Draws, Prediction, at_half, primary_metric, score
from abi.outcomes import Control, Evaluation, Ranking, Trained
from abi.types import Estimate
from abi.units import show_count

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns
    from abi.families.family import Model
    from abi.problem import Task


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A trained model, its weights, and how many trainings it was the best of."""

    model: Model
    trained: Trained
    trials: int


def evaluate(
    kept: Contender,
    uniform: Contender,
    baseline: Baseline,
    test: Columns,
    config: Config,
    taught: Sequence[Columns] = (),
    groups: ClassGroups | None = None,
    users: Int64[np.ndarray, " rows"] | None = None,
    leans: tuple[Lean, ...] = (),
    derive: Callable[[int], object] | None = None,
) -> Evaluation:
    """Metrics with intervals, paired gains over the uniform control and the baseline, slices, calibration, latency.

    Args:
        kept: the model of the best round.
        uniform: the control: the best of as many trainings of the even split.
        baseline: fitted on the same rows, with its predictions for `test`.
        test: held-out rows.
        config: metric, resamples, slices.
        taught: the rows that were learned from, whose target alone gives what chance reaches; none where that is not asked.
        groups: the classes by their training rows, where these differ.
        users: which user each held-out row is of, where their rankings are asked for.
        leans: what tells the rarest of them.
        derive: as in `latency`.

    Raises:
        DataError: the primary metric is not defined on the held-out rows; others that are not are left out.
    """
    schema = kept.trained.plan.attention.scores.problem.schema
    assert test.target is not None
    chance = kept.model.predict_columns(test)
    predictions: dict[str, Prediction] = {
        "model": chance if kept.model.thresholds is None else at_half(chance, kept.model.thresholds),
        "uniform": judged(uniform.model, test),
        "baseline": baseline.prediction,
    }
    primary = primary_metric(schema.task, config.evaluation.metric)
    values = {name: _defined(score(schema.task, test.target, p, groups)) for name, p in predictions.items()}
    if any(primary not in found for found in values.values()):
        msg = f"Expected held-out rows for which {primary} is defined, got {len(test.target)} rows whose target does not vary: hold out more rows (data.test) or choose another evaluation.metric."
        raise DataError(msg)
    ordered = bool(kept.trained.plan.attention.scores.problem.split.order)
    block = block_rows(len(test)) if ordered else 1
    if taught:
        predictions["chance"] = constant(schema.task, len(schema.classes), taught, len(test))
        values["chance"] = _defined(score(schema.task, test.target, predictions["chance"], groups))
    draws = bootstrap(schema.task, test.target, predictions, config.evaluation.resamples, config.seed, block, groups)

    def control(name: str, description: str, parameters: int, trials: int, train_time_s: float) -> Control:
        return Control(
            name=name,  # type: ignore[arg-type]  # "uniform" or "baseline"
            description=description,
            metrics=_estimates(values[name], draws[name]),
            gain=gain(
                primary, values["model"][primary], values[name][primary], draws["model"][primary], draws[name][primary]
            ),
            parameters=parameters,
            trials=trials,
            train_time_s=train_time_s,
        )

    cost, limit = uniform.trained.measured, kept.trained.plan.envelope.parameters
    which = (
        "the even split of the same envelope"
        if limit is None or cost.parameters <= limit
        else "the smallest even split there is, which the envelope does not hold"
    )
    return Evaluation(
        trained=kept.trained,
        rows=len(test.target),
        primary=primary,
        metrics=_estimates(values["model"], draws["model"]),
        controls=(
            control(
                "uniform",
                f"{which}, {show_count(cost.parameters)} parameters, best of {uniform.trials} by validation loss",
                cost.parameters,
                uniform.trials,
                cost.train_time_s,
            ),
            control("baseline", baseline.description, baseline.parameters, 1, round(baseline.train_time_s, 3)),
        ),
        slices=slices(kept.trained, test, predictions["model"], primary, config, groups),
        calibration=calibration(schema.task, test.target, chance),
        latency_s=latency(kept.model, test, config.evaluation.latency_calls, derive),
        trials=kept.trials,
        signal=signal(primary, values, draws) if taught else None,
        groups=groups,
        ranking=None if users is None else _ranking(schema.task, test.target, users, predictions, taught, config),
        leans=leans,
    )


def _ranking(
    task: Task,
    target: Shaped[np.ndarray, " rows"],
    users: Int64[np.ndarray, " rows"],
    predictions: dict[str, Prediction],
    taught: Sequence[Columns],
    config: Config,
) -> Ranking | None:
    known = np.concatenate([part.target for part in taught if part.target is not None])
    own = {name: found for name, found in predictions.items() if name != "chance"}
    asked = config.evaluation
    return ranking(task, target, users, own, known, asked.relevant, asked.resamples, config.seed)


def latency(model: Model, rows: Columns, calls: int, derive: Callable[[int], object] | None = None) -> float:
    """Median seconds to predict one row, from its text or picture where a pretrained encoder reads it.

    Args:
        model: what predicts.
        rows: some rows.
        calls: how often.
        derive: makes the columns of the row of a call that are derived from raw ones, as is done before each prediction;
            None where there are none.
    """
    rows = without_vectors(rows, model.schema) if getattr(model, "vectors", None) is not None else rows
    times = []
    for call in range(calls):
        one = rows.take(np.array([call % len(rows.row_numbers)]))
        start = time.perf_counter()
        if derive is not None:
            derive(call)
        model.predict_columns(one)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def _defined(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _estimates(values: dict[str, float], draws: dict[str, Draws]) -> dict[str, Estimate]:
    return {name: estimate(value, draws[name]) for name, value in values.items()}
