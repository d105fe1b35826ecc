"""A model and its controls on the same held-out rows as they are and as they may come: noisy, with gaps, turned against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from abi.evaluation.attack import attacked
from abi.evaluation.bootstrap import block_rows, estimate, resamples
from abi.evaluation.perturb import MISSING, NOISE, encoded, known, with_gaps, with_noise, without
from abi.evaluation.wording import noise_of
from abi.families.family import judged
from abi.metrics import LOWER_IS_BETTER, METRICS, Draws, Prediction, Statistic, statistics
from abi.robustness import Contender, Perturbed, Robustness, Strength, Suffered

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns, Vectors
    from abi.families.family import Model
    from abi.problem import Task
    from abi.types import Attention

STEPS: Final[Mapping[Strength, float]] = {"weak": 0.05, "middle": 0.1, "strong": 0.2}
"""Sizes of an FGSM step, as shares of the embeddings' norm."""
Predict = Callable[["Columns"], Prediction]


@dataclass(frozen=True, kw_only=True)
class Contenders:
    """Whose predictions are compared: models, which can be attacked, and what else predicts."""

    models: Mapping[Contender, Model]
    others: Mapping[Contender, Predict]

    def predict(self, rows: Columns) -> dict[Contender, Prediction]:
        """What each of them says of the rows."""
        found: dict[Contender, Prediction] = {name: judged(model, rows) for name, model in self.models.items()}
        return found | {name: predict(rows) for name, predict in self.others.items()}


@dataclass(frozen=True)
class _Change:
    """A change, and what each contender says after it."""

    named: Perturbed
    predictions: Mapping[Contender, Prediction]


def robust_metric(task: Task, asked: str) -> str:
    """Accuracy, micro F1 of labels or RMSE, or what is asked for: a ranking metric hides a shift that all rows share."""
    if asked in METRICS[task]:
        return asked
    return {"regression": "rmse", "multilabel": "f1_micro"}.get(task, "accuracy")


def measure(
    contenders: Contenders,
    attention: Attention,
    train: Columns,
    test: Columns,
    config: Config,
    vectors: Vectors | None = None,
) -> Robustness:
    """The metric under every change, with what it loses, on the same bootstrap resamples.

    Args:
        contenders: whose predictions are compared.
        attention: of the model; its most attended features are missing one by one.
        train: training rows, which say how large a deviation is and which categories there are.
        test: held-out rows.
        config: metric, rows, features, resamples, seed.
        vectors: encode changed texts, where a feature is of a pretrained encoder; else each model asks its own.
    """
    schema, asked = attention.scores.problem.schema, config.evaluation
    metric = robust_metric(schema.task, asked.metric)
    if len(test) > asked.robust_rows:
        chosen = np.random.default_rng(config.seed).choice(len(test), asked.robust_rows, replace=False)
        test = test.take(np.sort(chosen))
    assert test.target is not None
    ones = np.ones((1, len(test)))

    def function(prediction: Prediction) -> Statistic:
        assert test.target is not None
        return statistics(schema.task, test.target, prediction)[metric]

    clean = {name: function(found) for name, found in contenders.predict(test).items()}
    values = {name: float(f(ones)[0]) for name, f in clean.items()}
    block = block_rows(len(test)) if attention.scores.problem.split.order else 1
    counts = list(resamples(len(test), asked.resamples, config.seed, block))
    before = {name: _draws(f, counts) for name, f in clean.items()}
    perturbed = []
    for change in _changes(contenders, attention, train, test, config, vectors):
        suffered = []
        for name, found in change.predictions.items():
            changed = function(found)
            after = float(changed(ones)[0])
            if np.isfinite(after - values[name]):
                suffered.append(_suffered(name, metric, (values[name], before[name]), (after, _draws(changed, counts))))
        perturbed.append(_with(change.named, tuple(suffered)))
    return Robustness(
        metric=metric,
        rows=len(test),
        clean={name: estimate(value, before[name]) for name, value in values.items() if np.isfinite(value)},
        perturbed=tuple(perturbed),
    )


def _changes(
    contenders: Contenders,
    attention: Attention,
    train: Columns,
    test: Columns,
    config: Config,
    vectors: Vectors | None,
) -> Iterator[_Change]:
    schema, seen = attention.scores.problem.schema, known(train)
    for place, (strength, noise) in enumerate(NOISE.items()):
        rows = encoded(with_noise(test, schema, seen, noise, config.seed + place), schema, vectors)
        yield _Change(_named("noise", noise_of(schema, strength), strength), contenders.predict(rows))
    ranked = sorted(attention.weights, key=lambda w: -w.weight)
    for weight in ranked[: config.evaluation.robust_features]:
        rows = without(test, schema, weight.feature)
        named = _named("missing", f"{weight.feature} missing", feature=weight.feature)
        yield _Change(named, contenders.predict(rows))
    for place, (strength, share) in enumerate(MISSING.items()):
        rows = with_gaps(test, schema, share, config.seed + place)
        yield _Change(_named("missing", f"{share:.0%} of the features missing", strength), contenders.predict(rows))
    for strength, size in STEPS.items():
        answers = {name: attacked(model, test, size) for name, model in contenders.models.items()}
        found = {name: answer for name, answer in answers.items() if answer is not None}
        if found:
            yield _Change(_named("adversarial", f"FGSM step of {size:.0%} of the embeddings' norm", strength), found)


def _named(kind: str, what: str, strength: Strength | None = None, feature: str | None = None) -> Perturbed:
    return Perturbed(kind=kind, what=what, contenders=(), strength=strength, feature=feature)  # type: ignore[arg-type]  # one of three


def _with(named: Perturbed, suffered: tuple[Suffered, ...]) -> Perturbed:
    return Perturbed(
        kind=named.kind, what=named.what, contenders=suffered, strength=named.strength, feature=named.feature
    )


def _suffered(name: Contender, metric: str, before: tuple[float, Draws], after: tuple[float, Draws]) -> Suffered:
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    return Suffered(
        contender=name,
        value=estimate(*after),
        loss=estimate(sign * (before[0] - after[0]), sign * (before[1] - after[1])),
    )


def _draws(function: Statistic, counts: list[np.ndarray]) -> Draws:
    return np.concatenate([function(chunk) for chunk in counts])
