"""Memory of training, followed allocation by allocation."""

from __future__ import annotations

import pytest
import torch

from abi.families.artifact import build
from abi.training.memory import peak_bytes
from abi.training.objective import training_target


@pytest.fixture(scope="module")
def parts(toy):
    table = toy.table(rows=400)
    fitted = toy.fitted(table)
    blueprint = fitted.model.blueprint
    network = build(blueprint)
    target = training_target(table.train, blueprint.schema, blueprint.preparation)
    cells = network.encode(table.train), network.encode(table.validation)
    return network, *cells, target, fitted.trained.plan.execution


def test_weights_gradients_moments_copy_and_data_are_all_in_it(parts):
    network, train, validation, target, execution = parts
    weights = sum(p.numel() for p in network.parameters()) * 4
    # two numeric features (int32 row and float32 fraction) and one categorical (int32), 300 + 100 rows; int64 targets
    data = 400 * (2 * 8 + 4) + 300 * 8
    peak = peak_bytes(network, train, target, validation, execution, "binary")
    assert peak > 5 * weights + data


def test_more_rows_of_data_cost_their_own_bytes_and_no_more(parts):
    network, train, validation, target, execution = parts
    twice = torch.arange(train.rows).repeat(2)
    once = peak_bytes(network, train, target, validation, execution, "binary")
    double = peak_bytes(network, train.take(twice), target[twice], validation, execution, "binary")
    assert double - once == 300 * (2 * 8 + 4) + 300 * 8


def test_larger_steps_cost_more(parts, toy):
    from dataclasses import replace

    network, train, validation, target, execution = parts
    few = validation.take(torch.arange(1))
    small = peak_bytes(network, train, target, few, replace(execution, batch_rows=10), "binary")
    large = peak_bytes(network, train, target, few, replace(execution, batch_rows=300), "binary")
    assert large > small


def test_the_network_and_the_random_state_are_left_alone(parts):
    network, train, validation, target, execution = parts
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    peak_bytes(network, train, target, validation, execution, "binary")
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
