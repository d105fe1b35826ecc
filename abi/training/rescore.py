"""Scores from a trained model: what it does with each feature, on validation rows.

Two views are blended. The squared gradient of the loss with respect to a feature's embedding times the embedding's
variance is the first-order change of the loss if the feature said nothing (squared gradients survive retraining tests
where plain ones do not: Hooker et al. 2019, arXiv 1806.10758). The permutation loss is the measured change when the
feature's embeddings are shuffled between rows (Breiman 2001; Fisher et al. 2019); the features that the gradient ranks
low are shuffled in groups and share their group's loss by gradient, so that the cost is bounded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from abi.families.artifact import Model, joined
from abi.families.losses import members_loss
from abi.families.network import Cells, Network
from abi.training.fitted import rounded
from abi.training.objective import row_losses, training_target
from abi.types import Estimate, FeatureScore, Scores

if TYPE_CHECKING:
    from abi.data.columns import Columns

ROWS: Final = 4096
ALONE: Final = 64
GROUPS: Final = 16
FOLDS: Final = 8
NORMAL_95: Final = 1.96


def rescore(model: Model, validation: Columns, before: Scores, *, seed: int) -> tuple[Scores, Float[np.ndarray, " n"]]:
    """Scores with source "model", and the model's importance per feature as shares on the simplex.

    Args:
        model: the round's trained model.
        validation: rows that it was not fitted on; at most 4,096 of them are used.
        before: the scores that the round started from; the terms that a model cannot tell are kept from it.
        seed: of the rows and the shuffles.
    """
    random = np.random.default_rng(seed)
    rows = len(validation.row_numbers)
    used = validation.take(np.sort(random.permutation(rows)[:ROWS]))
    schema, network = model.blueprint.schema, model.network
    network.eval()
    target = training_target(used, schema, model.blueprint.preparation)
    embedding = _embedded(network, network.encode(used)).requires_grad_(True)
    loss = members_loss(network.attend(embedding), target, schema.task)
    (gradient,) = torch.autograd.grad(loss * len(target), embedding)
    per_unit = gradient.square() * embedding.detach().var(dim=0, unbiased=False)
    count = len(schema.features)
    by_row = torch.zeros(len(target), count).index_add_(1, network.feature_of, per_unit).double()
    folds = np.arange(len(target)) % min(FOLDS, len(target))
    saliency = fold_means(by_row.numpy(), folds)
    losses = _permuted(model, embedding.detach(), target, saliency.mean(axis=0), folds, random)
    scores, shares = model_scores(before, np.sqrt(np.maximum(saliency, 0)), losses, len(target))
    curves = _curves(per_unit.mean(dim=0).double().numpy(), network.feature_of.numpy(), count)
    features = tuple(replace(f, curve=curve) for f, curve in zip(scores.features, curves, strict=True))
    return replace(scores, features=features), shares


def _embedded(network: Network, cells: Cells) -> Tensor:
    with torch.no_grad():
        parts = torch.split(torch.arange(cells.rows), network.chunk_rows)
        return torch.cat([network.embed(cells.take(index)) for index in parts])


def _curves(
    units: Float[np.ndarray, " width"], feature_of: Int[np.ndarray, " width"], count: int
) -> list[tuple[float, ...]]:
    """Per feature: the share of its first-order effect that its best 1, 2, .. dimensions have."""
    curves = []
    for feature in range(count):
        mine = np.sort(units[feature_of == feature])[::-1]
        total = mine.sum()
        curves.append(tuple(rounded(v) for v in np.cumsum(mine) / total) if total > 0 else ())
    return curves


def model_scores(
    before: Scores, first: Float[np.ndarray, "folds n"], losses: Float[np.ndarray, "folds n"], rows: int
) -> tuple[Scores, Float[np.ndarray, " n"]]:
    """Scores and shares from two views of a model, each per fold of rows: the first one's, and permutation losses."""
    count = len(before.features)
    blended = (_shares(first) + _shares(np.maximum(losses, 0))) / 2
    share = blended.mean(axis=0)
    error = blended.std(axis=0, ddof=1) / np.sqrt(len(blended)) if len(blended) > 1 else np.zeros(count)
    top = share.max()
    shares = share / share.sum()
    features = tuple(
        _feature(old, share[i] / top, error[i] / top, losses[:, i], float(shares[i]))
        for i, old in enumerate(before.features)
    )
    scores = Scores(
        problem=before.problem,
        source="model",
        rows=rows,
        features=features,
        round=before.round + 1,
        terms=before.terms,
        tail=before.tail,
    )
    return scores, shares


def _feature(
    old: FeatureScore, score: float, error: float, losses: Float[np.ndarray, " folds"], share: float
) -> FeatureScore:
    folds = len(losses)
    spread = losses.std(ddof=1) / np.sqrt(folds) if folds > 1 else 0.0
    added, half = float(losses.mean()), float(NORMAL_95 * spread)
    helps = added > max(half, 0.0)
    return replace(
        old,
        score=rounded(score),
        low=rounded(max(0.0, score - NORMAL_95 * error)),
        high=rounded(min(1.0, score + NORMAL_95 * error)),
        carries_signal=helps or old.carries_signal,
        share=share,
        ablation=Estimate(value=rounded(added), low=rounded(added - half), high=rounded(added + half)),
    )


def _permuted(
    model: Model,
    embedding: Float[Tensor, "B D"],
    target: Tensor,
    saliency: Float[np.ndarray, " n"],
    folds: np.ndarray,
    random: np.random.Generator,
) -> Float[np.ndarray, "folds n"]:
    """Loss added by shuffling each feature (or its share of its group's), per fold of rows."""
    network, task = model.network, model.blueprint.schema.task
    count = len(saliency)
    order = np.argsort(-saliency, kind="stable")
    groups = [[i] for i in order[:ALONE]]
    rest = order[ALONE:]
    groups += [list(part) for part in np.array_split(rest, min(GROUPS, len(rest)))] if len(rest) else []
    feature_of = network.feature_of.numpy()

    def losses(values: Tensor) -> Float[np.ndarray, " folds"]:
        rows = row_losses(joined(network.attend(values), task), target, task)
        return fold_means(rows.double().numpy()[:, None], folds)[:, 0]

    result = np.zeros((folds.max() + 1, count))
    with torch.no_grad():
        plain = losses(embedding)
        for group in groups:
            units = torch.from_numpy(np.flatnonzero(np.isin(feature_of, group)))
            shuffled = embedding.clone()
            shuffled[:, units] = embedding[torch.from_numpy(random.permutation(len(target)))][:, units]
            part = saliency[group] + 1e-300
            result[:, group] = (losses(shuffled) - plain)[:, None] * (part / part.sum())
    return result


def fold_means(values: Float[np.ndarray, "B n"], folds: np.ndarray) -> Float[np.ndarray, "folds n"]:
    """Mean of each column over the rows of each fold."""
    return np.stack([values[folds == fold].mean(axis=0) for fold in range(folds.max() + 1)])


def _shares(values: Float[np.ndarray, "folds n"]) -> Float[np.ndarray, "folds n"]:
    totals = values.sum(axis=1, keepdims=True)
    return np.asarray(np.where(totals > 0, values / np.maximum(totals, 1e-300), 1.0 / values.shape[1]))
