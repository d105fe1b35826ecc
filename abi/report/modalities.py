"""Several kinds of input at once: what attention each modality has, and what the model loses without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from abi.families.artifact import Model as NetworkModel
from abi.families.artifact import joined
from abi.families.modalities import OF_TABLE, modality_of
from abi.problem import Schema
from abi.report.axis import Axis
from abi.report.exhibits import ModalityLoss
from abi.report.wording import alignment_sentence, clean, decimals, number, percent, plural
from abi.training.fitted import rounded
from abi.training.objective import row_losses, training_target
from abi.types import Estimate

if TYPE_CHECKING:
    from jaxtyping import Float

    from abi.data.columns import Columns
    from abi.families.network import Cells
    from abi.report.content import Report

ROWS: Final = 1024
CHUNK_ROWS: Final = 128
SHUFFLES: Final = 4
_Z95: Final = 1.96


def modalities_of(schema: Schema) -> dict[str, tuple[int, ...]]:
    """Modality -> its features' places: the table, each text, each column of pictures or sounds."""
    found: dict[str, list[int]] = {}
    for place, feature in enumerate(schema.features):
        found.setdefault(modality_of(feature), []).append(place)
    return {name: tuple(places) for name, places in found.items()}


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


def modalities(report: Report) -> dict[str, Any]:
    """A row per modality, the one with the most attention first; none where all features are of one."""
    schema = report.checks.problem.schema
    weights = [w.weight for w in report.plan.attention.weights]
    found = modalities_of(schema)
    if len(found) < 2:  # noqa: PLR2004 - of one there is nothing to compare
        return {"modalities": []}
    losses = {m.modality: m.ablation for m in (report.exhibits.modalities if report.exhibits is not None else ())}
    order = sorted(found, key=lambda name: -_total(weights, found[name]))
    axis = Axis.upto([v for own in found.values() for v in (_total(weights, own), len(own) / len(weights))])
    scale = Axis.upto([e.high for e in losses.values()])
    places = decimals(max((abs(e.value) for e in losses.values()), default=0.0), 3)
    return {
        "modalities": [
            {
                "name": clean(name),
                "features": _said(schema, found[name]),
                "share": percent(_total(weights, found[name])),
                "fill": axis.at(_total(weights, found[name])),
                "even": axis.at(len(found[name]) / len(weights)),
                "missing": _missing(schema, found[name]),
                **_loss(losses.get(name), scale, places),
            }
            for name in order
        ],
        "shuffled": bool(losses),
        "aligned": alignment_sentence(report.evaluation.trained),
    }


def _total(weights: Sequence[float], places: Sequence[int]) -> float:
    return sum(weights[place] for place in places)


def _said(schema: Schema, places: Sequence[int]) -> str:
    """``'4 features'``, ``'text'``, ``'picture, 16 regions'``."""
    first = schema.features[places[0]]
    if first.kind in OF_TABLE:
        return plural(len(places), "feature")
    medium = schema.media.get(first.column)
    if medium is None:
        return "text"
    regions = sum(schema.features[place].kind == "region" for place in places)
    parts = ["sound" if medium == "audio" else "picture", *([plural(regions, "region")] if regions else [])]
    return ", ".join(parts if regions == len(places) else [*parts, "a pretrained encoder"])


def _missing(schema: Schema, places: Sequence[int]) -> str:
    share = sum(schema.features[place].missing_share for place in places) / len(places)
    return f"{percent(share)} missing" if share else ""


def _loss(ablation: Estimate | None, scale: Axis, places: int) -> dict[str, Any]:
    if ablation is None:
        return {"loss": "", "loss_interval": "", "loss_fill": 0, "loss_whisker": (0, 0)}
    value, low, high = (number(v, places, sign=True) for v in (ablation.value, ablation.low, ablation.high))
    return {
        "loss": value,
        "loss_interval": f"{low} to {high}",
        "loss_fill": scale.at(ablation.value),
        "loss_whisker": scale.span(ablation.low, ablation.high),
    }
