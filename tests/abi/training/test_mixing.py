"""Rows mixed for the tail: labels by hand, the loss that they make, and every way of weighing classes beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from abi.config import load_config
from abi.errors import UsageError
from abi.families.losses import members_loss
from abi.training.hardening import Aim, add_gradients
from abi.training.mixing import frequency_of, label_shares
from abi.types import Execution, Hardening

REMIX = Hardening(mixup=1.0, remix=True)


def test_labels_by_hand() -> None:
    # (own rows, the other's): three times as many, almost so, as many, a third, unknown
    own, others = torch.tensor([90.0, 89.0, 30.0, 30.0, torch.nan]), torch.tensor([30.0, 30.0, 30.0, 90.0, 30.0])
    for share, expected in ((0.2, [0.0, 0.2, 0.2, 0.2, 0.2]), (0.7, [0.7, 0.7, 0.7, 1.0, 0.7]), (0.5, [0.5] * 5)):
        torch.testing.assert_close(label_shares(share, own, others), torch.tensor(expected))
        # the other row, mixed by the same share with this one, has the same two labels the other way round
        torch.testing.assert_close(label_shares(1 - share, others, own), 1 - torch.tensor(expected))


def test_the_loss_is_that_of_the_labels(toy: Any) -> None:
    model = toy.fitted(toy.table("binary"), dropout=0.0, term_dropout=0.0).model
    network = model.network.train()
    network.share = 0.0
    two = network.encode(toy.table("binary").train).take(torch.tensor([0, 0]))  # mixing changes nothing but the targets
    head, tail = (float(members_loss(network(two), torch.tensor([c, c]), "binary").detach()) for c in (0, 1))
    execution = Execution(
        device="cpu", precision="float32", batch_rows=2, epochs=1, steps=1, threads=1, hardening=REMIX
    )
    aim = Aim(execution, "binary", 0.0, frequency=torch.tensor([60.0, 20.0]))
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        one = torch.tensor(1.0)
        share = float(torch.distributions.Beta(one, one, validate_args=False).sample())
        swapped = torch.randperm(2).tolist() == [1, 0]
        torch.manual_seed(seed)
        found, _ = add_gradients(network, two, torch.tensor([0, 1]), aim, 1.0)
        if not swapped:
            expected = (head + tail) / 2
        elif share < 0.5:  # the head's row is the tail's; that of the tail is mixed as ever
            expected = (tail + share * tail + (1 - share) * head) / 2
        else:
            expected = (share * head + (1 - share) * tail + tail) / 2
        seen.add((swapped, share < 0.5))
        assert float(found) == pytest.approx(expected, rel=1e-5)
    assert {(True, True), (True, False)} <= seen


@pytest.mark.parametrize("balance", ["none", "class_balanced", "logit_adjusted", "resampled"])
def test_it_goes_with_every_way_of_weighing_classes(toy: Any, balance: str) -> None:
    table = toy.table("multiclass", rows=160)
    held = np.flatnonzero((table.train.target != 2) | (np.arange(len(table.train)) % 6 == 0))  # a rare class
    config = toy.config(training__tail_mixing=0.4, training__epochs=2)
    plan = toy.plan(table.problem, config)
    assert plan.execution.hardening == Hardening(mixup=0.4, remix=True)
    assert any("mixup for the tail 0.4" in reason for reason in plan.reasons)
    method = None if balance == "none" else balance
    fitted = toy.fitted(replace(table, train=table.train.take(held)), config, balance=method)
    assert np.isfinite(fitted.trained.loss)
    plain = toy.fitted(replace(table, train=table.train.take(held)), toy.config(training__epochs=2), balance=method)
    assert fitted.trained.loss != plain.trained.loss


def test_the_class_out_of_scope_is_mixed_as_ever_and_values_are_refused(toy: Any) -> None:
    schema = toy.problem({"x": "numeric"}, "multiclass").schema
    target, device = np.array([0, 0, 1, 2, 2, 2]), torch.device("cpu")
    rows = frequency_of(REMIX, replace(schema, out_of_scope="b"), target, device)
    torch.testing.assert_close(rows, torch.tensor([2.0, torch.nan, 3.0]), equal_nan=True)
    assert frequency_of(Hardening(mixup=1.0), schema, target, device) is None
    values = toy.problem({"x": "numeric"}, "regression").schema
    with pytest.raises(
        UsageError, match=r"Expected a target of classes for training\.tail_mixing, got task regression"
    ):
        frequency_of(REMIX, values, np.zeros(3), device)


def test_rows_are_mixed_in_one_way() -> None:
    with pytest.raises(UsageError, match="Expected one way of mixing rows"):
        load_config(settings={"training.tail_mixing": 0.2, "training.robust.mixup": 0.2}, ambient=False)
    assert "remix" not in Hardening(mixup=0.2).to_json()
    assert load_config(settings={}, ambient=False).training.hardening() is None
