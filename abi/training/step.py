"""One step of the optimizer: gradients, clipping, decay, AdamW. On a GPU it is handed over as one graph."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from abi.errors import TrainingDiverged
from abi.families.network import Network
from abi.training.checkpoint import Progress
from abi.training.data import TrainingData
from abi.training.decay import FeatureDecay
from abi.training.dropping import Dropping
from abi.training.graph import Graphs
from abi.training.hardening import Aim, add_gradients
from abi.training.parallel import Alone
from abi.training.rates import rates_on, set_rate
from abi.types import Plan
from abi.units import show_count

CLIP: Final = 1.0
SMALL: Final = 1e-6
"""Added to the norm by torch before it divides by it."""
LOOK: Final = 64
"""Steps after which it is looked whether a loss or gradient was lost, where looking means to wait for a GPU."""


class Step:
    """Called with a step's rows, it moves the network's weights.

    Where one process trains on a GPU alone and no part of the network waits for it, a step is a graph (`Graphs`). Texts
    read how long they are, attacks draw on the processor; pictures are not bound by the host.
    """

    def __init__(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        dropping: Dropping,
        data: TrainingData,
        plan: Plan,
        kl: float,
        group: Alone,
        progress: Progress,
    ) -> None:
        execution, task = plan.execution, plan.attention.scores.problem.schema.task
        device = data.target.device
        self._network, self._optimizer, self._dropping, self._data = network, optimizer, dropping, data
        self._group, self._progress, self._part_rows = group, progress, execution.part_rows
        self._aim = Aim(execution, task, kl, data.gone, data.leaning, data.frequency)
        self._decay = FeatureDecay(network, plan.capacity, execution.weight_decay)
        self._parameters = list(network.parameters())
        self._losses, self._rows = torch.zeros((), device=device), 0
        self._lost = torch.zeros((), dtype=torch.bool, device=device)
        self.graphs = None
        plain = (
            execution.hardening is None
            and not len(network.texts)
            and not len(network.sequences)
            and not len(network.grids)
        )
        if plain and device.type == "cuda" and group.size == 1:
            rates_on(optimizer, device)
            self.graphs = Graphs(plan.envelope.memory_bytes)

    def begin(self) -> None:
        """An epoch begins."""
        self._losses.zero_()
        self._rows = 0

    def end(self) -> float:
        """Mean loss of the rows since the epoch began, also where the clock ended it before all of them were taken.

        Raises:
            TrainingDiverged: a loss or gradient became NaN or infinite.
        """
        self._expect_none_lost()
        rows = self._data.train.rows
        return float(self._losses) if self._rows == rows else float(self._losses) * rows / self._rows

    def __call__(self, part: Tensor, rate: float) -> None:
        """Step with the rows of `part`, of which this process takes its own, at that learning rate.

        Raises:
            TrainingDiverged: a loss or gradient became NaN or infinite, on a GPU some steps before.
        """
        set_rate(self._optimizer, rate)
        self._rows += len(part)
        if self.graphs is not None:
            self.graphs(part, self._whole_step)
        else:
            index, share = self._group.own(part)
            self._work(index, len(part), share)
        if self._lost.is_cuda and self._progress.step % LOOK == 0:
            self._expect_none_lost()

    def forget(self) -> None:
        """The network has other tensors now."""
        self._parameters = list(self._network.parameters())
        if self.graphs is not None:
            self.graphs.forget()

    def _whole_step(self, part: Tensor) -> None:
        self._work(part, len(part))

    def _work(self, index: Tensor, rows: int, share: float = 1.0) -> None:
        """All that is done on the device."""
        network, parameters = self._network, self._parameters
        for parameter in parameters:
            parameter.grad = None
        loss, self._whole = self._group.add_up(parameters, *self._backward(index, share))
        self._dropping.hold()
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None], foreach=True)
        if self._lost.is_cuda:
            self._lost |= ~torch.isfinite(norm + self._whole)
        elif not math.isfinite(float(norm) + float(self._whole)):
            raise TrainingDiverged(self._cause())
        if self._lost.is_cuda or float(norm) + SMALL > CLIP:  # else it would multiply by one
            nn.utils.clip_grads_with_norm_(parameters, CLIP, norm, foreach=True)
        self._decay.before_step(network, self._optimizer.param_groups[0]["lr"])
        self._optimizer.step()
        self._losses += loss * (rows / self._data.train.rows)

    def _backward(self, index: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Gradients of the mean loss over the rows times `weight`; gives that, and the same with the divergence."""
        loss, whole = torch.zeros(2, device=index.device).unbind()
        for rows in torch.split(index, self._part_rows):
            share = weight * (len(rows) / len(index))
            cells, target = self._data.train.take(rows), self._data.target.index_select(0, rows)
            present = None if self._data.present is None else self._data.present.index_select(0, rows)
            own, total = add_gradients(self._network, cells, target, self._aim, share, present)
            loss, whole = loss + own * share, whole + total * share
        return loss, whole

    def _expect_none_lost(self) -> None:
        if self._lost:
            raise TrainingDiverged(self._cause())

    def _cause(self) -> str:
        """Which part went wrong first, in words."""
        progress, rate = self._progress, float(self._optimizer.param_groups[0]["lr"])
        where = f"epoch {progress.epoch + 1}, step {progress.step + 1}, learning rate {rate:.2g}"
        if not torch.isfinite(self._whole):
            return f"Training loss became {float(self._whole)} ({where}): lower training.learning_rate or check the data for extreme values."
        for name, parameter in self._network.named_parameters():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                return f"The gradient of {name} ({show_count(parameter.numel())} parameters) became NaN or infinite ({where}): lower training.learning_rate or set training.precision to float32."
        return f"The gradient norm overflowed ({where}): lower training.learning_rate."
