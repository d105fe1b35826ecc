"""In which order rows are trained on, epoch by epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from abi.training.data import TrainingData


class Orders:
    """Orders of rows as a generator draws them, on the device of the rows.

    `generator` is always in the state before the next epoch, as a checkpoint keeps it, also where that epoch's order has been
    drawn `ahead`: while a GPU works on what it was handed. A processor has nothing to wait for.
    """

    def __init__(self, data: TrainingData, generator: torch.Generator, *, ahead: bool) -> None:
        self._data, self._generator, self._draws_ahead = data, generator, ahead
        self._ahead: tuple[Tensor, Tensor] | None = None

    def take(self) -> Tensor:
        """The next epoch's order."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return self._data.order(self._generator).to(self._data.target.device)
        order, state = ahead
        self._generator.set_state(state)
        return order

    def look_ahead(self) -> None:
        """The steps of an epoch were handed over: draw the next order, if that is done ahead."""
        if self._draws_ahead:
            twin = torch.Generator()
            twin.set_state(self._generator.get_state())
            order = self._data.order(twin).to(self._data.target.device)
            self._ahead = order, twin.get_state()
