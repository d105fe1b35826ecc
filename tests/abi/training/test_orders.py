"""Orders of rows: the same whether they are drawn ahead or not, and the generator as a checkpoint needs it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from abi.families.network import Cells
from abi.inputs.kind import TableRows
from abi.training.balance import balance_of
from abi.training.data import TrainingData
from abi.training.orders import Orders

ROWS = 50


def data(method: Literal["resampled"] | None) -> TrainingData:
    target = (np.arange(ROWS) % 5 == 0).astype(np.float64)
    cells = Cells((TableRows(torch.zeros(ROWS, 1, dtype=torch.int32)),), ROWS)
    codes = torch.from_numpy(target.astype(np.int64))
    return TrainingData(cells, codes, cells, codes, balance_of(method, target, 2), None, None)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(4)


@pytest.mark.parametrize("method", [None, "resampled"])
def test_what_is_drawn_ahead_is_what_would_have_been_drawn(method: Literal["resampled"] | None) -> None:
    held = data(method)
    plain, ahead = Orders(held, seeded(), ahead=False), Orders(held, seeded(), ahead=True)
    for _ in range(3):
        assert torch.equal(plain.take(), ahead.take())
        plain.look_ahead()
        ahead.look_ahead()


def test_a_checkpoint_between_two_epochs_draws_the_next_order_again() -> None:
    held, shuffle = data(None), seeded()
    orders = Orders(held, shuffle, ahead=True)
    orders.take()
    orders.look_ahead()
    kept = shuffle.get_state()
    resumed = torch.Generator()
    resumed.set_state(kept)
    assert torch.equal(orders.take(), Orders(held, resumed, ahead=True).take())
    assert not torch.equal(shuffle.get_state(), kept)
