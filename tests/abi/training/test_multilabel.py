"""A target of several labels per row, from the table to predictions and figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from abi.config import load_config
from abi.data.memory import read_memory
from abi.errors import UsageError
from abi.evaluation.baseline import fit_baseline
from abi.evaluation.calibration import calibration
from abi.evaluation.evaluate import Contender, evaluate
from abi.families.artifact import joined
from abi.families.family import judged
from abi.families.losses import members_loss
from abi.families.stored import load
from abi.metrics import METRICS, score
from abi.planning.family import plan_family
from abi.scoring.score import score as score_features
from abi.training.objective import row_losses
from abi.types import Attention, Envelope, Plan

SETTINGS = {
    "training.epochs": 25,
    "training.members": 2,
    "training.block_width": 32,
    "training.threads": 1,
    "training.device": "cpu",
    "evaluation.resamples": 100,
    "evaluation.latency_calls": 5,
}


def _frame(rows: int = 500, seed: int = 0) -> pd.DataFrame:
    """Label "up" follows x, "red" the colour, "rare" both; some rows have none."""
    random = np.random.default_rng(seed)
    x, colour = random.normal(size=rows), random.choice(["red", "green", "blue"], rows)
    marks = {"up": x > 0.3, "red": colour == "red", "rare": (x > 0.8) & (colour == "blue")}
    labels = [[name for name, mark in marks.items() if mark[i]] for i in range(rows)]
    return pd.DataFrame({"x": x, "colour": colour, "y": labels})


@pytest.fixture(scope="module")
def trained(toy: Any) -> Any:
    from abi.attention.fit import fit
    from abi.training import family

    config = load_config(settings=SETTINGS, ambient=False)
    reader = read_memory(_frame(), "y", config, _frame(300, seed=1))
    scores = score_features(reader, config.scoring)
    train, validation, test = (reader.load(role) for role in ("train", "validation", "test"))
    plan = _plan(toy, fit(scores, None, config.attention), config)
    return family.train(plan, train, validation, config, seed=0), reader, config, (train, validation, test)


def _plan(toy: Any, attention: Attention, config: Any) -> Plan:
    return plan_family(attention, Envelope(), config, toy.machine, train_rows=400, validation_rows=75)


def test_the_labels_are_learned_and_thresholds_kept(trained: Any) -> None:
    fitted, _, _, (_, validation, test) = trained
    assert fitted.trained.family == "network"
    assert any("several labels per row asks for the network alone" in r for r in fitted.trained.plan.reasons)
    thresholds = fitted.model.thresholds
    assert thresholds.shape == (3,)
    found = score("multilabel", test.target, judged(fitted.model, test))
    assert found["f1_micro"] > 0.9
    on_validation = score("multilabel", validation.target, judged(fitted.model, validation))
    assert fitted.trained.metric == pytest.approx(on_validation["f1_micro"])
    assert len(fitted.row_losses) == len(validation)


def test_the_loss_of_training_is_that_of_validation() -> None:
    out = torch.tensor([[[0.0, 2.0]], [[-1.0, 0.5]]])
    target = torch.tensor([[True, False], [False, True]])
    by_row = row_losses(joined(out, "multilabel"), target, "multilabel")
    assert float(members_loss(out, target, "multilabel")) == pytest.approx(float(by_row.mean()))
    chance = 1 / (1 + np.exp(-out.numpy()[:, 0]))
    by_hand = -np.log([[chance[0, 0], 1 - chance[0, 1]], [1 - chance[1, 0], chance[1, 1]]]).mean(axis=1)
    assert by_row.tolist() == pytest.approx(by_hand.tolist(), rel=1e-5)
    even = members_loss(torch.zeros(1, 1, 2), torch.tensor([[True, False]]), "multilabel", 0.2)
    assert float(even) == pytest.approx(np.log(2))


def test_predictions_are_lists_or_text_as_the_target_was(trained: Any, tmp_path: Any) -> None:
    fitted, *_ = trained
    for name, data in fitted.model.files().items():
        (tmp_path / name).write_bytes(data)
    model = load(tmp_path)
    assert model.thresholds == pytest.approx(fitted.model.thresholds)
    frame = _frame(20, seed=2).drop(columns="y")
    answer = model.predict(frame)
    assert list(answer.columns) == ["prediction", "probability_rare", "probability_red", "probability_up"]
    chance = answer.filter(like="probability").to_numpy()
    assert list(answer["prediction"]) == [
        [name for name, taken in zip(("rare", "red", "up"), row, strict=True) if taken]
        for row in chance >= model.thresholds
    ]
    text = replace(model, blueprint=replace(model.blueprint, schema=replace(model.schema, separator="|")))
    assert list(text.predict(frame)["prediction"]) == ["|".join(labels) for labels in answer["prediction"]]
    assert model.predict(frame.head(0)).shape == (0, 4)


def test_figures_stand_beside_control_and_baseline(trained: Any) -> None:
    fitted, reader, config, (train, validation, test) = trained
    contender = Contender(model=fitted.model, trained=fitted.trained, trials=1)
    baseline = fit_baseline("multilabel", 3, [train, validation], test, seed=0)
    assert "per label" in baseline.description
    found = evaluate(contender, contender, baseline, test, config)
    assert found.primary == "f1_micro"
    assert set(found.metrics) == set(METRICS["multilabel"])
    assert found.metrics["f1_micro"].value > 0.9
    assert found.control("baseline").metrics["f1_micro"].value > 0.75
    assert found.slices
    assert found.calibration is not None
    pairs = sum(b.rows for b in found.calibration.bins)
    assert pairs == 3 * len(test)
    assert reader.problem.schema.classes == ("rare", "red", "up")


def test_calibration_is_of_all_pairs_of_row_and_label() -> None:
    found = calibration("multilabel", np.array([[True, False]]), np.array([[0.9, 0.2]]))
    assert found.error == pytest.approx((0.1 + 0.2) / 2)


@pytest.mark.parametrize("family", ["trees", "blend"])
def test_trees_are_refused_with_a_remedy(toy: Any, trained: Any, family: str) -> None:
    fitted, *_ = trained
    config = load_config(settings=SETTINGS | {"training.family": family}, ambient=False)
    with pytest.raises(UsageError, match=r"several labels per row: use training\.family=network"):
        _plan(toy, fitted.trained.plan.attention, config)


def test_a_label_that_no_training_row_has_is_never_predicted_by_the_baseline() -> None:
    frame = _frame(300)
    config = load_config(settings=SETTINGS, ambient=False)
    reader = read_memory(frame, "y", config)
    train, validation = (reader.load(role) for role in ("train", "validation"))
    assert train.target is not None
    train.target[:, 0] = False
    found = fit_baseline("multilabel", 3, [train], validation, seed=0)
    assert (found.prediction[:, 0] < 0.5).all()
