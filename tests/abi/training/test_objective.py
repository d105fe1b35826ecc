"""Losses by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from abi.families.artifact import joined
from abi.families.losses import members_loss
from abi.families.preparation import Preparation
from abi.training.objective import row_losses, training_target


def test_binary_members_by_hand() -> None:
    # logits 0 and ln 3 are chances 1/2 and 3/4; targets 1 and 0
    out = torch.tensor([[[0.0], [math.log(3)]], [[0.0], [math.log(3)]]])
    expected = (math.log(2) + math.log(4 / 3) + math.log(2) + math.log(4)) / 4
    assert float(members_loss(out, torch.tensor([1, 0]), "binary")) == pytest.approx(expected, rel=1e-6)


def test_multiclass_members_by_hand() -> None:
    out = torch.tensor([[[0.0, 0.0, 0.0], [math.log(2), 0.0, 0.0]]])
    expected = (math.log(3) + math.log(2)) / 2
    assert float(members_loss(out, torch.tensor([0]), "multiclass")) == pytest.approx(expected, rel=1e-6)


def test_regression_members_by_hand() -> None:
    out = torch.tensor([[[1.0], [3.0]], [[0.0], [0.0]]])
    assert float(members_loss(out, torch.tensor([2.0, 1.0]), "regression")) == pytest.approx(1.0)


def test_row_losses_by_hand() -> None:
    chance = torch.tensor([0.25, 0.25])
    found = row_losses(chance, torch.tensor([1, 0]), "binary").tolist()
    assert found == pytest.approx([math.log(4), math.log(4 / 3)])
    many = torch.tensor([[0.5, 0.25, 0.25]])
    assert row_losses(many, torch.tensor([2]), "multiclass").tolist() == pytest.approx([math.log(4)])
    assert row_losses(torch.tensor([3.0]), torch.tensor([1.0]), "regression").tolist() == [4.0]


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_chance_of_zero_is_a_large_and_finite_loss(task: Any) -> None:
    chance = torch.tensor([0.0]) if task == "binary" else torch.tensor([[1.0, 0.0, 0.0]])
    (loss,) = row_losses(chance, torch.tensor([1]), task).tolist()
    assert 10 < loss < 100


@pytest.mark.parametrize(("task", "width"), [("binary", 1), ("multiclass", 3), ("regression", 1)])
def test_the_loss_of_the_average_is_at_most_the_average_loss(task: Any, width: int) -> None:
    torch.manual_seed(0)  # Jensen: all three losses are convex in what is averaged
    out = torch.randn(50, 4, width)
    target = torch.randn(50) if task == "regression" else torch.randint(0, max(2, width), (50,))
    together = float(row_losses(joined(out, task), target, task).mean())
    assert together < float(members_loss(out, target, task))


def test_with_one_member_both_losses_agree() -> None:
    torch.manual_seed(0)
    out, target = torch.randn(30, 1, 1), torch.randint(0, 2, (30,))
    together = float(row_losses(joined(out, "binary"), target, "binary").mean())
    assert together == pytest.approx(float(members_loss(out, target, "binary")), rel=1e-5)


def test_a_numeric_target_is_standardised_and_classes_are_not(toy: Any) -> None:
    table = toy.table("regression")
    rows = replace(table.train.take(np.arange(3)), target=np.array([10.0, 12.0, 16.0]))
    scale = Preparation(edges=(), vocabularies=(), target_mean=12.0, target_deviation=2.0)
    assert training_target(rows, table.problem.schema, scale).tolist() == [-1.0, 0.0, 2.0]
    classes = toy.table("multiclass")
    found = training_target(classes.train, classes.problem.schema, scale)
    assert found.dtype == torch.int64
    assert found.tolist() == classes.train.target.tolist()
