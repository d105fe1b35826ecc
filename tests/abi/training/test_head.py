"""A linear head on known vectors."""

from __future__ import annotations

import math

import pytest
import torch

from abi.training.head import Known, fit_head, head_losses


def _known(vectors, target) -> Known:
    rows = torch.arange(len(vectors))
    return Known(torch.tensor(vectors, dtype=torch.float32), rows, torch.tensor(target))


def test_a_head_without_a_hint_says_the_share_of_each_class() -> None:
    known = _known([[0.0]] * 4, [0, 0, 0, 1])  # loss by hand: the entropy of 3 to 1
    head, losses = fit_head(known, known, "binary", 1)
    assert losses.mean().item() == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), abs=1e-4)
    assert head.bias.sigmoid().item() == pytest.approx(0.25, abs=1e-3)


def test_a_line_is_found_in_a_regression() -> None:
    known = _known([[-1.0], [0.0], [1.0], [2.0]], [-3.0, -1.0, 1.0, 3.0])
    head, losses = fit_head(known, known, "regression", 1)
    assert losses.max().item() < 1e-5
    assert [head.weight.item(), head.bias.item()] == pytest.approx([2.0, -1.0], abs=1e-2)


def test_validation_rows_choose_the_penalty() -> None:
    torch.manual_seed(0)
    x, other = torch.randn(40, 30), torch.randn(200, 30)
    train = Known(x, torch.arange(40), (x[:, 0] + 3 * torch.randn(40) > 0).long())
    validation = Known(other, torch.arange(200), (other[:, 0] > 0).long())
    cautious, _ = fit_head(train, validation, "binary", 1)
    bold, _ = fit_head(train, train, "binary", 1)
    assert cautious.weight.norm().item() < bold.weight.norm().item()


def test_rows_of_one_text_share_its_vector() -> None:
    known = Known(torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 0, 1]), torch.tensor([[True], [True], [False]]))
    head, losses = fit_head(known, known, "multilabel", 1)
    assert torch.equal(head_losses(head, known, "multilabel"), losses)
    assert losses.max().item() < 0.1
