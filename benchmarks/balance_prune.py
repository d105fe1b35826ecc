"""Magnitude pruning of a trained uniform model: the control that allocation must beat (Han et al. 2015, arXiv 1506.02626)."""

from __future__ import annotations

import copy

import numpy as np
import torch

from abi.data.columns import Columns
from abi.families.artifact import Model, joined
from abi.families.losses import members_loss
from abi.training.fitted import Fitted
from abi.training.objective import row_losses, training_target

TUNED = 0.4
"""Epochs of tuning after pruning, as a share of the plan's."""


def pruned(dense: Fitted[Model], budget: int, train: Columns, validation: Columns) -> tuple[Model, float]:
    """The model with all but the `budget` largest weights at zero, tuned on with these held there.

    Matrices and tables are pruned across layers by magnitude over their tensor's root mean square, which keeps a layer
    of small weights from vanishing; vectors stay.
    """
    plan, model = dense.trained.plan, copy.deepcopy(dense.model)
    network, execution = model.network, plan.execution
    schema, preparation = model.blueprint.schema, model.blueprint.preparation
    # all adapters have magnitude 1: they would go, or stay, as one
    weights = [
        p
        for n, p in network.named_parameters()
        if (p.ndim > 1 or n.endswith("values")) and not n.startswith(("adapter", "head.bias"))
    ]
    others = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in weights)
    worth = torch.cat(
        [(w.detach() / w.detach().square().mean().sqrt().clamp_min(1e-12)).abs().flatten() for w in weights]
    )
    left = max(1, min(budget - others, worth.numel()))
    cut = torch.topk(worth, left).values[-1]
    masks = [(w.detach() / w.detach().square().mean().sqrt().clamp_min(1e-12)).abs() >= cut for w in weights]
    torch.manual_seed(dense.trained.seed)
    cells, held = network.encode(train), network.encode(validation)
    target = training_target(train, schema, preparation)
    held_target = training_target(validation, schema, preparation)
    network.term_dropout = execution.term_dropout
    rate = execution.learning_rate / 4
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.0)
    epochs = max(1, round(TUNED * execution.epochs))
    steps = epochs * -(-cells.rows // execution.batch_rows)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, kept = float("inf"), copy.deepcopy(network.state_dict())

    def hold() -> None:
        with torch.no_grad():
            for weight, mask in zip(weights, masks, strict=True):
                weight.mul_(mask)

    hold()
    for _ in range(epochs):
        network.train()
        for index in torch.split(torch.randperm(cells.rows), execution.batch_rows):
            loss = members_loss(network(cells.take(index)), target[index], schema.task, execution.smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
            schedule.step()
            hold()
        network.eval()
        with torch.no_grad():
            parts = [joined(network(held.take(i)), schema.task) for i in torch.split(torch.arange(held.rows), 2048)]
        value = float(row_losses(torch.cat(parts), held_target, schema.task).mean())
        if np.isfinite(value) and value < best:
            best, kept = value, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    network.eval()
    return model, best
