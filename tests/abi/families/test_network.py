"""Attention over features, dropout, and the folded backbone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from abi.families.artifact import Blueprint, build
from abi.families.dropout import dropout
from abi.families.network import FeatureAttention, Network
from abi.families.preparation import prepare
from abi.families.sizes import outputs


def _network(toy: Any, table: Any, prior: list[float] | None = None, **settings: Any) -> Network:
    plan = toy.plan(table.problem, toy.config(**settings))
    count = len(table.problem.schema.features)
    torch.manual_seed(0)
    return build(
        Blueprint(
            family="network",
            schema=table.problem.schema,
            capacity=plan.capacity,
            preparation=prepare(table.problem.schema, plan.capacity, table.train)[0],
            prior=tuple(prior or [1 / count] * count),
            dropout=0.5,
        )
    ).eval()


def test_untrained_attention_is_the_prior_and_scales_have_mean_one() -> None:
    attention = FeatureAttention(torch.tensor([0.5, 0.3, 0.2]))
    assert attention.weights().tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert attention().tolist() == pytest.approx([1.5, 0.9, 0.6])
    assert float(attention.divergence().detach()) == pytest.approx(0.0, abs=1e-7)


def test_divergence_by_hand() -> None:
    attention = FeatureAttention(torch.tensor([0.5, 0.5]))
    with torch.no_grad():
        attention.offset.copy_(torch.tensor([math.log(3), 0.0]))
    assert attention.weights().tolist() == pytest.approx([0.75, 0.25])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(attention.divergence().detach()) == pytest.approx(expected, rel=1e-6)


def test_dropout_keeps_the_mean_and_the_share() -> None:
    torch.manual_seed(0)
    out = dropout(torch.ones(400, 100), 0.25)
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(out.mean()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, 0.999])
@pytest.mark.parametrize("cells", [1, 7, 8, 9])
def test_any_dropout_that_settings_allow_works_on_any_number_of_cells(share: float, cells: int) -> None:
    out = dropout(torch.ones(cells), share)
    assert out.shape == (cells,)
    assert torch.isfinite(out).all()
    if share == 0:
        assert torch.equal(out, torch.ones(cells))


def test_dropout_differs_from_call_to_call_and_follows_the_seed() -> None:
    x = torch.ones(64)
    torch.manual_seed(1)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(1)
    assert torch.equal(dropout(x, 0.5), first)
    assert not torch.equal(first, second)


def test_the_folded_first_layer_is_k_scaled_copies_of_the_input(toy: Any) -> None:
    table = toy.table("multiclass")
    network = _network(toy, table, [0.5, 0.2, 0.3], training__members=3)
    cells = network.encode(table.train)
    x = network.embed(cells) * network.attention()[network.feature_of]
    members = []
    for k in range(3):
        hidden = x * network.adapter.weight[k]
        for layer in network.layers:
            hidden = layer(hidden).relu()
        members.append(hidden @ network.head.weight[k] + network.head.bias[k])
    torch.testing.assert_close(network(cells), torch.stack(members, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("task", "width"), [("binary", 1), ("multiclass", 3), ("regression", 1)])
@pytest.mark.parametrize(("numeric", "categorical"), [(2, 1), (1, 0), (0, 1), (0, 3)])
def test_output_shapes(toy: Any, task: Any, width: int, numeric: int, categorical: int) -> None:
    table = toy.table(task, numeric=numeric, categorical=categorical)
    network = _network(toy, table, training__members=3)
    assert outputs(table.problem.schema) == width
    assert network(network.encode(table.train)).shape == (180, 3, width)
    assert network(network.encode(table.train.take(np.arange(1)))).shape == (1, 3, width)


def test_a_feature_without_attention_has_no_effect(toy: Any) -> None:
    table = toy.table("binary", numeric=2, categorical=1)
    network = _network(toy, table)
    with torch.no_grad():
        network.attention.offset.copy_(torch.tensor([0.0, 0.0, -80.0]))
    changed = table.train.take(np.arange(180))
    changed.categorical[0].codes[:] = 2 - changed.categorical[0].codes
    changed.numeric[:, 1] += 0
    torch.testing.assert_close(network(network.encode(changed)), network(network.encode(table.train)))
    changed.numeric[:, 0] += 1
    assert not torch.allclose(network(network.encode(changed)), network(network.encode(table.train)))


def test_cells_on_their_way_stay_the_same(toy: Any) -> None:
    table = toy.table("binary")
    network = _network(toy, table)
    cells = network.encode(table.train)
    some = cells.take(torch.tensor([5, 3])).to(torch.device("cpu"))
    assert some.rows == 2
    torch.testing.assert_close(network(some), network(cells)[[5, 3]])


def test_low_precision_computes_nearly_the_same(toy: Any) -> None:
    table = toy.table("binary")
    network = _network(toy, table)
    cells = network.encode(table.train)
    exact = network(cells)
    network.low_precision = True
    torch.testing.assert_close(network(cells), exact, rtol=0.05, atol=0.05)
    assert network(cells).dtype == torch.float32
