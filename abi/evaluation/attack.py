"""Predictions of a network whose embeddings were moved against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from abi.families import artifact
from abi.families.adversarial import attack_loss, fgsm
from abi.families.artifact import joined
from abi.families.blend import Blend
from abi.metrics import Prediction, at_half
from abi.training.objective import training_target

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.families.family import Model


def attacked(model: Model, rows: Columns, size: float) -> Prediction | None:
    """Predictions after an FGSM step of that size on the embeddings; None where the model has none, as trees.

    Of a blend the network is attacked, and the trees answer as ever. Labels come as `abi.families.family.judged` gives them.
    """
    found = _of_any(model, rows, size)
    return found if found is None or model.thresholds is None else at_half(found, model.thresholds)


def _of_any(model: Model, rows: Columns, size: float) -> Prediction | None:
    if isinstance(model, Blend):
        network = _of_any(model.network, rows, size)
        if network is None:
            return None
        return np.asarray(model.weight * network + (1 - model.weight) * model.trees.predict_columns(rows))
    return _attacked(model, rows, size) if isinstance(model, artifact.Model) else None


def _attacked(model: artifact.Model, rows: Columns, size: float) -> Prediction:
    network, schema = model.network, model.schema
    network.eval()
    device = next(network.parameters()).device
    cells = model.encode(rows)
    target = training_target(rows, schema, model.blueprint.preparation).to(device)
    parts = []
    with torch.no_grad():
        for index in torch.split(torch.arange(cells.rows), network.chunk_rows):
            embedding = network.embed(cells.take(index).to(device))
            loss = attack_loss(network, target.index_select(0, index.to(device)), schema.task)
            parts.append(joined(network.attend(fgsm(embedding, loss, size)), schema.task).cpu())
    return np.asarray(model.in_unit(torch.cat(parts)))
