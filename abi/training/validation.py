"""A line of history at the end of an epoch: losses on validation rows, and which weights were the best."""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch import Tensor, nn

from abi.config import Config
from abi.errors import TrainingDiverged
from abi.families.artifact import joined
from abi.families.network import Cells, Network
from abi.metrics import Prediction
from abi.outcomes import Epoch
from abi.problem import Task
from abi.training.checkpoint import Progress
from abi.training.data import TrainingData
from abi.training.fitted import metric_of, rounded
from abi.training.objective import row_losses
from abi.training.watch import Watcher
from abi.types import Plan


def validate(
    network: Network,
    data: TrainingData,
    plan: Plan,
    config: Config,
    progress: Progress,
    train_loss: float,
    epoch_began: float,
    watcher: Watcher,
    within: bool,
) -> None:
    """The epoch's line of history, in place of one that it had; keeps the weights where the loss is the least so far, of those `within` the plan."""
    schema = plan.attention.scores.problem.schema
    rows = plan.execution.micro_batch or network.chunk_rows
    if data.target.is_cuda:  # where few large products are faster; a step of as many rows takes more memory
        rows = max(rows, plan.execution.part_rows)
    prediction = _predict(network, data.validation, schema.task, rows)
    plain = _plain(prediction, schema.task)
    loss = (
        float(row_losses(prediction, data.validation_target, schema.task).mean())
        if data.balance is None
        else float(data.balance.row_losses(schema.task, data.validation_target.cpu().numpy(), plain).mean())
    )
    if not math.isfinite(loss):
        msg = f"Validation loss became {loss} in epoch {progress.epoch}: lower training.learning_rate or check the data for extreme values."
        raise TrainingDiverged(msg)
    line = Epoch(
        epoch=progress.epoch,
        train_loss=rounded(train_loss),
        validation_loss=rounded(loss),
        metric=_metric(data, plain, schema.task, config),
        seconds=round(time.perf_counter() - epoch_began, 4),
    )
    if progress.history and progress.history[-1].epoch == line.epoch:
        progress.history.pop()
    progress.history.append(line)
    if within and loss < progress.best_loss:
        progress.best_loss, progress.best_epoch, progress.best_share = loss, progress.epoch, progress.share
        progress.best = weights_of(network)
    watcher.epoch(line, network.attention.weights().detach().cpu().double().numpy(), _norms(network))


def weights_of(network: Network) -> dict[str, Tensor]:
    """A copy of its weights as they are now."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _predict(network: Network, cells: Cells, task: Task, chunk_rows: int) -> Tensor:
    network.eval()
    with torch.no_grad():
        parts = [
            joined(network(cells.take(index)), task)
            for index in torch.split(torch.arange(cells.rows, device=_device(network)), chunk_rows)
        ]
    return torch.cat(parts)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _plain(prediction: Tensor, task: Task) -> Prediction:
    plain = prediction.double().cpu().numpy()
    return np.column_stack([1 - plain, plain]) if task == "binary" else plain


def _metric(data: TrainingData, plain: Prediction, task: Task, config: Config) -> float | None:
    """The primary metric, in the target's own unit."""
    target = data.validation_target.cpu().numpy()
    if task == "regression":
        target, plain = target.astype(np.float64) * data.unit, plain * data.unit
    return metric_of(task, target, plain, config, data.groups)


def _norms(network: Network) -> dict[str, float]:
    """L2 norm of each part of the network."""
    named = [(name.split(".")[0], parameter.detach()) for name, parameter in network.named_parameters()]
    norms = torch.stack(torch._foreach_norm([parameter for _, parameter in named])).tolist()  # one wait for a GPU
    squares: dict[str, float] = {}
    for (part, _), norm in zip(named, norms, strict=True):
        squares[part] = squares.get(part, 0.0) + norm**2
    return {part: math.sqrt(value) for part, value in squares.items()}
