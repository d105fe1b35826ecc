"""What a model loses without one of its modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from abi.families.artifact import Model as NetworkModel
from abi.families.artifact import joined
from abi.report.exhibits import ModalityLoss
from abi.report.modalities import modalities_of
from abi.training.fitted import rounded
from abi.training.objective import row_losses, training_target
from abi.types import Estimate

if TYPE_CHECKING:
    from jaxtyping import Float

    from abi.data.columns import Columns
    from abi.families.network import Cells

ROWS: Final = 1024
CHUNK_ROWS: Final = 128
SHUFFLES: Final = 4
_Z95: Final = 1.96


def modality_losses(model: NetworkModel, validation: Columns, seed: int = 0) -> tuple[ModalityLoss, ...]:
    """What shuffling a modality's embeddings between rows adds to the loss (Breiman 2001), where there are several.

    At most 1,024 rows are used; all features of a modality are shuffled together, four times.
    """
    schema, network = model.blueprint.schema, model.network
    modalities = modalities_of(schema)
    if len(modalities) < 2 or not len(validation):  # noqa: PLR2004 - of one there is nothing to compare
        return ()
    random = np.random.default_rng(seed)
    used = validation.take(np.sort(random.permutation(len(validation))[:ROWS]))
    target = training_target(used, schema, model.blueprint.preparation)
    network.eval()
    with torch.inference_mode():
        embedding = _embedded(model, network.encode(used))
        plain = _losses(model, embedding, target)
        found = []
        for name, places in modalities.items():
            units = torch.from_numpy(np.flatnonzero(np.isin(network.feature_of.cpu().numpy(), places)))
            added = np.zeros(len(used))
            for _ in range(SHUFFLES if len(units) else 0):
                shuffled = embedding.clone()
                shuffled[:, units] = embedding[torch.from_numpy(random.permutation(len(used)))][:, units]
                added += (_losses(model, shuffled, target) - plain) / SHUFFLES
            found.append(ModalityLoss(modality=name, ablation=_estimate(added)))
    return tuple(found)


def _embedded(model: NetworkModel, cells: Cells) -> Tensor:
    index = torch.arange(cells.rows)
    return torch.cat([model.network.embed(cells.take(part)) for part in torch.split(index, CHUNK_ROWS)])


def _losses(model: NetworkModel, embedding: Tensor, target: Tensor) -> Float[np.ndarray, " rows"]:
    task = model.blueprint.schema.task
    parts = [model.network.attend(part) for part in torch.split(embedding, CHUNK_ROWS)]
    return np.asarray(row_losses(joined(torch.cat(parts), task), target, task).double().numpy())


def _estimate(added: Float[np.ndarray, " rows"]) -> Estimate:
    value = float(added.mean())
    half = _Z95 * float(added.std(ddof=1)) / np.sqrt(len(added)) if len(added) > 1 else 0.0
    return Estimate(value=rounded(value), low=rounded(value - half), high=rounded(value + half))
