"""Weight decay that differs between features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from abi.training.decay import FeatureDecay
from abi.training.loop import train


def _network(toy: Any, texts: bool = False) -> Any:
    table = toy.texts("binary", numeric=1) if texts else toy.table("binary")
    return toy.fitted(table, epochs=1).model


def _with(capacity: Any, decays: list[float]) -> Any:
    features = tuple(replace(f, decay=d) for f, d in zip(capacity.features, decays, strict=True))
    return replace(capacity, features=features)


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_with_adamw_each_feature_decays_as_much_as_its_multiplier_says(toy: Any, rate: float) -> None:
    model = _network(toy)
    network, weight_decay, decays = model.network, 0.2, [0.25, 1.0, 4.0]
    weight = network.layers[0].weight
    before = weight.detach().clone()
    optimizer = torch.optim.AdamW([{"params": [weight], "weight_decay": weight_decay}], lr=rate)
    weight.grad = torch.zeros_like(weight)  # without a gradient decay is all that a step does
    FeatureDecay(network, _with(model.blueprint.capacity, decays), weight_decay).before_step(network, rate)
    optimizer.step()
    expected = before * (1 - rate * weight_decay * torch.tensor(decays))[network.feature_of]
    torch.testing.assert_close(weight.detach(), expected)


def test_where_the_head_reads_the_embeddings_its_weights_decay(toy: Any) -> None:
    model = _network(toy)
    network = model.network
    network.layers, width = nn.ModuleList(), len(network.feature_of)
    network.head.weight = nn.Parameter(torch.ones(2, width, 1))
    FeatureDecay(network, _with(model.blueprint.capacity, [3.0, 1.0, 1.0]), 0.1).before_step(network, 1.0)
    # (1 - 0.3) / (1 - 0.1) for the first feature
    expected = torch.where(network.feature_of == 0, 0.7 / 0.9, 1.0).expand(2, -1).unsqueeze(-1)
    torch.testing.assert_close(network.head.weight.detach(), expected)


def test_multipliers_of_1_leave_every_bit(toy: Any) -> None:
    model = _network(toy)
    before = model.artifact
    FeatureDecay(model.network, model.blueprint.capacity, 0.1).before_step(model.network, 0.3)
    assert model.artifact == before


def test_the_loop_trains_what_the_plan_says(toy: Any) -> None:
    table = toy.table("binary")
    attention = toy.attention(table.problem, [0.9, 0.1, 0.1], 0.3)
    plain, same, other = (
        _trained(toy, table, attention, exponent, weight_decay)
        for exponent, weight_decay in ((0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
    )
    free = _trained(toy, table, attention, 0.0, 0.0)
    assert same.artifact == free.artifact
    assert other.artifact != plain.artifact


def test_the_even_split_is_trained_bit_by_bit_as_without(toy: Any) -> None:
    table = toy.table("binary")
    even = toy.attention(table.problem)
    assert _trained(toy, table, even, 0.0, 1.0).artifact == _trained(toy, table, even, 1.0, 1.0).artifact


def _trained(toy: Any, table: Any, attention: Any, exponent: float, weight_decay: float) -> Any:
    config = toy.config(training__attended_decay=exponent, training__weight_decay=weight_decay)
    plan = toy.plan(table.problem, config, attention)
    return train(plan, table.train, table.validation, config, seed=0).trained
