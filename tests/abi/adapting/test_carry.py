from __future__ import annotations

import numpy as np
import pytest
import torch

from abi.adapting.carry import _interpolated, carry
from abi.families.artifact import Model, build


@pytest.fixture
def trained(toy):
    """A model with its rows."""
    table = toy.table()
    return toy.fitted(table).model, table


def fresh(model: Model) -> Model:
    """The same network with other weights."""
    torch.manual_seed(7)
    network = build(model.blueprint)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return Model(model.blueprint, network)


def test_the_same_plan_takes_over_everything(trained):
    old, table = trained
    new = fresh(old)
    assert not np.allclose(old.predict_columns(table.validation), new.predict_columns(table.validation))
    assert carry(old, new) == pytest.approx(1.0, abs=0.01)
    assert np.allclose(old.predict_columns(table.validation), new.predict_columns(table.validation), atol=1e-6)


def test_other_knots_keep_the_embedding_where_they_lie():
    old, new = np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.5, 2.0])
    increments = torch.tensor([[0.0], [1.0], [3.0]])  # heights 0, 1, 4
    target = torch.full((3, 2), 9.0)
    assert _interpolated(increments, target, old, new) == 3
    assert target[:, 0].tolist() == pytest.approx([0.0, 0.5, 3.5])  # heights 0, 0.5, 4
    assert target[:, 1].tolist() == [9.0, 9.0, 9.0]
