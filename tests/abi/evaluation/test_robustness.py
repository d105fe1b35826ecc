"""Models under changed inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.data.columns import Columns
from abi.evaluation.attack import attacked
from abi.evaluation.baseline import fit_baseline
from abi.evaluation.robustness import STEPS, Contenders, measure, robust_metric
from abi.families.blend import Blend
from abi.metrics import score
from abi.planning.family import plan_family
from abi.robustness import Robustness
from abi.training.trees import train_trees
from abi.types import Envelope, TreesAttention

TASKS = ["binary", "multiclass", "regression"]


class Rule:
    """Says yes where the first number is above 0: what every change does to it is known."""

    def predict(self, rows: Columns) -> np.ndarray:
        positive = (rows.numeric[:, 0] > 0).astype(np.float64)
        return np.column_stack([1 - positive, positive])


def _measured(toy: Any, task: str = "binary", **settings: Any) -> tuple[Robustness, Any, Any]:
    table = toy.table(task)
    kept, uniform = (toy.fitted(table, seed=seed) for seed in (0, 1))
    baseline = fit_baseline(task, len(table.problem.schema.classes), [table.train], table.validation, 0)  # type: ignore[arg-type]
    config = toy.config(evaluation__resamples=100, **settings)
    contenders = Contenders(
        models={"model": kept.model, "uniform": uniform.model}, others={"baseline": baseline.predict}
    )
    attention = toy.attention(table.problem, [0.9, 0.1, 0.5], 0.4)
    return measure(contenders, attention, table.train, table.validation, config), kept, table


@pytest.mark.parametrize("task", TASKS)
def test_every_contender_stands_in_every_change_that_can_be_made_to_it(toy: Any, task: str) -> None:
    found, kept, table = _measured(toy, task)
    kinds = [(p.kind, p.strength or p.feature) for p in found.perturbed]
    strengths = ["weak", "middle", "strong"]
    assert kinds == [
        *(("noise", s) for s in strengths),
        *(("missing", f) for f in ("x0", "c0", "x1")),  # by attention
        *(("missing", s) for s in strengths),
        *(("adversarial", s) for s in strengths),
    ]
    for change in found.perturbed:
        who = [c.contender for c in change.contenders]
        assert who == ["model", "uniform", *([] if change.kind == "adversarial" else ["baseline"])]
        assert all(c.loss.low <= c.loss.value <= c.loss.high for c in change.contenders)
    metric = "rmse" if task == "regression" else "accuracy"
    values = score(task, table.validation.target, kept.model.predict_columns(table.validation))  # type: ignore[arg-type]
    assert found.clean["model"].value == pytest.approx(values[metric])
    assert Robustness.from_json(found.to_json()).id == found.id


@pytest.mark.parametrize("task", TASKS)
def test_losses_are_differences_and_rise_with_the_step(toy: Any, task: str) -> None:
    found, _, _ = _measured(toy, task, evaluation__metric="rmse" if task == "regression" else "log_loss")
    losses = []
    for change in found.perturbed:
        own = change.of("model")
        assert own is not None
        assert own.loss.value == pytest.approx(own.value.value - found.clean["model"].value)
        losses += [own.loss.value] if change.kind == "adversarial" else []
    assert 0 < losses[0] < losses[1] < losses[2]


def test_a_rule_loses_what_its_feature_is_worth(toy: Any) -> None:
    table = toy.table("binary")
    attention = toy.attention(table.problem, [0.9, 0.1, 0.5], 0.4)
    contenders = Contenders(models={}, others={"model": Rule().predict})
    found = measure(contenders, attention, table.train, table.validation, toy.config(evaluation__resamples=100))
    missing = {p.feature: p.of("model") for p in found.perturbed if p.feature is not None}
    # without x0 it says no everywhere: what is left is the share of that class
    assert missing["x0"].value.value == pytest.approx(float((table.validation.target == 0).mean()))  # type: ignore[union-attr]
    assert missing["x1"].loss.value == missing["c0"].loss.high == 0  # type: ignore[union-attr]
    assert not [p for p in found.perturbed if p.kind == "adversarial"]


def test_rows_in_order_of_time_are_resampled_in_blocks(toy: Any) -> None:
    table = toy.table("binary")
    test = table.validation

    def guess(rows: Columns) -> np.ndarray:
        return Rule().predict(replace(rows, numeric=rows.numeric[:, ::-1]))

    hits = guess(test).argmax(axis=1) == test.target
    attention = toy.attention(table.problem, [0.9, 0.1, 0.5], 0.4)
    problem = replace(table.problem, split=replace(table.problem.split, order="day"))
    ordered = replace(attention, scores=replace(attention.scores, problem=problem))
    contenders, config = Contenders(models={}, others={"model": guess}), toy.config(evaluation__resamples=200)
    test = test.take(np.argsort(hits, kind="stable"))  # rows are like those beside them
    one, other = (measure(contenders, a, table.train, test, config).clean["model"] for a in (attention, ordered))
    assert one.value == other.value
    assert other.high - other.low > 1.4 * (one.high - one.low)


def test_few_rows_are_drawn_and_no_feature_need_be_missing(toy: Any) -> None:
    found, _, _ = _measured(toy, evaluation__robust_rows=20, evaluation__robust_features=0)
    assert found.rows == 20
    assert all(p.feature is None for p in found.perturbed)


def test_the_metric_is_accuracy_or_rmse_or_what_was_asked_for() -> None:
    assert [robust_metric(task, "auto") for task in TASKS] == ["accuracy", "accuracy", "rmse"]  # type: ignore[arg-type]
    assert robust_metric("binary", "roc_auc") == "roc_auc"
    assert robust_metric("regression", "roc_auc") == "rmse"


@pytest.mark.parametrize("task", TASKS)
def test_no_step_gives_the_prediction_itself(toy: Any, task: str) -> None:
    table = toy.texts(task, numeric=1, categorical=1)
    model = toy.fitted(table).model
    np.testing.assert_allclose(
        attacked(model, table.validation, 0.0), model.predict_columns(table.validation), atol=1e-6
    )


def test_of_a_blend_the_network_alone_is_attacked(toy: Any) -> None:
    table = toy.table("binary")
    config, attention = toy.config(), toy.attention(table.problem)
    weights = TreesAttention(temperature=None, weights=attention.weights)
    plan = plan_family(
        replace(attention, trees=weights), Envelope(), config, toy.machine, train_rows=180,
        validation_rows=60, family="trees",
    )  # fmt: skip
    network = toy.fitted(table).model
    trees = train_trees(plan, table.train, table.validation, config, seed=0).model
    assert attacked(trees, table.validation, STEPS["strong"]) is None
    moved = attacked(network, table.validation, STEPS["strong"])
    assert moved is not None
    expected = 0.25 * moved + 0.75 * trees.predict_columns(table.validation)
    np.testing.assert_allclose(attacked(Blend(network, trees, 0.25), table.validation, STEPS["strong"]), expected)


def test_a_metric_that_is_not_defined_is_left_out(toy: Any) -> None:
    table = toy.table("binary")
    one_class = table.validation.take(table.validation.target == 1)
    contenders = Contenders(models={"model": toy.fitted(table).model}, others={})
    config = toy.config(evaluation__resamples=100, evaluation__metric="roc_auc")
    found = measure(contenders, toy.attention(table.problem), table.train, one_class, config)
    assert found.clean == {}
    assert all(p.contenders == () for p in found.perturbed)


def test_an_evaluation_without_it_keeps_its_bytes(toy: Any) -> None:
    found, kept, _ = _measured(toy)
    from abi.outcomes import Evaluation

    plain = Evaluation(
        trained=kept.trained, rows=1, primary="accuracy", metrics={}, controls=(), slices=(), calibration=None,
        latency_s=1.0, trials=1,
    )  # fmt: skip
    assert "robustness" not in plain.to_json()
    measured = replace(plain, robustness=found)
    assert Evaluation.from_json(measured.to_json()) == measured
