"""Training a chosen plan once more, on the rows that chose it as well: what is deployed learns from all that is known.

Validation rows choose the attention, the round and how long it is trained; then they are rows like others (the newest ones,
where rows are in order). Length, weights of a blend and decisions (thresholds, rejection) stay as they were found.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from abi.families.artifact import Model as Network
from abi.families.blend import Blend
from abi.families.family import Model
from abi.families.transfer import Start
from abi.families.trees import TreesModel
from abi.outcomes import Refit, Trained
from abi.training import loop
from abi.training.checkpoint import Checkpoints
from abi.training.fitted import rounded
from abi.training.trees import train_trees
from abi.training.watch import Watcher

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

SEEN: Final = 50
"""Rows that stand where validation rows would; nothing is decided by them."""


@dataclass(frozen=True)
class _Work:
    """What the parts of a model are trained again by."""

    trained: Trained
    taught: Columns
    config: Config
    watcher: Watcher | None
    checkpoints: Checkpoints | None
    processes: int | None
    start: Start | None

    @property
    def seen(self) -> Columns:
        return self.taught.take(np.arange(min(SEEN, len(self.taught))))


def refit(
    model: Model,
    trained: Trained,
    taught: Columns,
    config: Config,
    *,
    watcher: Watcher | None = None,
    checkpoints: Checkpoints | None = None,
    processes: int | None = None,
    start: Start | None = None,
) -> tuple[Model, Trained]:
    """The same plan, seed and length, on all rows that were taught or judged.

    Args:
        model: what `trained` describes.
        trained: the training that validation rows chose.
        taught: the rows of training and validation together.
        config: settings.
        watcher: told of each step.
        checkpoints: where a network's training goes on from.
        processes: that train a network.
        start: what a network begins from, where the first one did.

    Raises:
        TrainingDiverged: a loss or gradient became NaN or infinite.
    """
    began = time.perf_counter()
    work = _Work(trained, taught, config, watcher, checkpoints, processes, start)
    if isinstance(model, Blend):
        assert isinstance(model.network, Network)
        assert isinstance(model.trees, TreesModel)
        trees = _trees(model.trees, work)
        limit_s = trained.plan.envelope.train_time_s
        left_s = None if limit_s is None else max(limit_s - (time.perf_counter() - began), limit_s / 2)
        network, attention = _network(model.network, work, left_s)
        trees = _within(trees, trained.plan.envelope.parameters, network.parameters) or model.trees
        own = np.array([w.weight for w in (trained.plan.attention.trees or trained.plan.attention).weights])
        mean = model.weight * np.array(attention) + (1 - model.weight) * own
        attention = tuple(rounded(a) for a in mean)
        again: Model = Blend(network, trees, model.weight)
    elif isinstance(model, TreesModel):
        grown = _within(_trees(model, work), trained.plan.envelope.parameters, 0)
        again, attention = grown or model, trained.attention
    else:
        assert isinstance(model, Network)
        again, attention = _network(model, work, trained.plan.envelope.train_time_s)
    found = Refit(
        judged=trained.artifact,
        attention=trained.attention,
        parameters=trained.measured.parameters,
        rows=len(taught),
        epochs=trained.best_epoch,
        train_time_s=round(time.perf_counter() - began, 3),
    )
    cost = replace(trained.measured, parameters=again.parameters)
    return again, replace(trained, artifact=again.artifact, attention=attention, measured=cost, refit=found)


def share_of(trained: Trained) -> float:
    """How much of its schedule a network had run when its best weights were there.

    Records of a shortened schedule have not always had it; where it was not shortened, epochs are even parts of it.
    """
    if trained.share is not None:
        return trained.share
    whole = len(trained.history) if trained.stopped == "time" else trained.plan.execution.epochs
    return min(1.0, trained.best_epoch / max(1, whole))


def _network(model: Network, work: _Work, limit_s: float | None) -> tuple[Network, tuple[float, ...]]:
    trained = work.trained
    plan = replace(trained.plan, envelope=replace(trained.plan.envelope, train_time_s=limit_s))
    fitted = loop.train(
        plan,
        work.taught,
        work.seen,
        work.config,
        seed=trained.seed,
        watcher=work.watcher,
        checkpoints=work.checkpoints,
        processes=work.processes,
        start=work.start,
        again=loop.Again(share_of(trained), model.blueprint.decision),
    )
    return fitted.model, fitted.trained.attention


def _trees(model: TreesModel, work: _Work) -> TreesModel:
    """As many rounds again."""
    trained = work.trained
    fitted = train_trees(
        trained.plan, work.taught, work.seen, work.config, seed=trained.seed, watcher=work.watcher, rounds=model.rounds
    )
    return fitted.model


def _within(trees: TreesModel, limit: int | None, taken: int) -> TreesModel | None:
    """With fewer rounds where other rows made more leaves than the limit has room for; None where no round fits."""
    return trees if limit is None else trees.cut(limit - taken)
