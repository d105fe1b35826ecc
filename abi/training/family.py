"""Training whichever family a plan names; where it names both, the choice between them on validation rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from abi.families.blend import Blend
from abi.families.family import Model
from abi.families.transfer import Start
from abi.families.trees import TreesModel
from abi.metrics import Prediction, Target
from abi.outcomes import Candidate, Choice
from abi.problem import Task
from abi.resources import both
from abi.training import loop
from abi.training.balance import Balance, balance_of, losses_of
from abi.training.checkpoint import Checkpoints
from abi.training.choice import asked_blend, keep, paired, standings, with_obstacle
from abi.training.fitted import Fitted, groups_in, metric_of, rounded
from abi.training.latency import predict_seconds
from abi.training.trees import cut_trees, train_trees
from abi.training.watch import Watcher
from abi.types import Cost, Envelope, Plan

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

WEIGHTS: Final = np.linspace(0.05, 0.95, 19)
"""Shares of the network that a blend may have."""
AS_GOOD: Final = 0.5
LEAST_OF_TREES: Final = 0.2
"""Trees that would lose more than the rest of their rounds to the envelope are not blended."""


@dataclass(frozen=True)
class Rows:
    """What all families train on and are judged by."""

    train: Columns
    validation: Columns
    config: Config
    seed: int
    watcher: Watcher | None = None
    checkpoints: Checkpoints | None = None
    profile: bool = False
    processes: int | None = None
    start: Start | None = None


def train(
    plan: Plan,
    train: Columns,
    validation: Columns,
    config: Config,
    *,
    seed: int,
    watcher: Watcher | None = None,
    checkpoints: Checkpoints | None = None,
    profile: bool = False,
    processes: int | None = None,
    start: Start | None = None,
) -> Fitted[Model]:
    """Train exactly what `plan` says; with `profile` also find out where memory and time of a network's step go.

    A network is trained in as many `processes` as the plan has devices, unless another number is given; it begins at `start`
    where there is one.

    Raises:
        TrainingDiverged: a loss or gradient became NaN or infinite; the message names the cause.
    """
    rows = Rows(train, validation, config, seed, watcher, checkpoints, profile, processes, start)
    return FAMILIES[plan.family](plan, rows)


def _network(plan: Plan, rows: Rows) -> Fitted[Model]:
    return loop.train(
        plan,
        rows.train,
        rows.validation,
        rows.config,
        seed=rows.seed,
        watcher=rows.watcher,
        checkpoints=rows.checkpoints,
        profile=rows.profile,
        processes=rows.processes,
        start=rows.start,
    )


def _trees(plan: Plan, rows: Rows) -> Fitted[Model]:
    return train_trees(plan, rows.train, rows.validation, rows.config, seed=rows.seed, watcher=rows.watcher)


def _both(plan: Plan, rows: Rows) -> Fitted[Model]:
    """Both families; then the better one, or their blend, whichever `decide` says."""
    trees = train_trees(plan, rows.train, rows.validation, rows.config, seed=rows.seed)
    limit_s = plan.envelope.train_time_s
    left_s = None if limit_s is None else max(limit_s - trees.trained.measured.train_time_s, limit_s / 2)
    network = _network(replace(plan, envelope=replace(plan.envelope, train_time_s=left_s)), rows)
    network = replace(network, trained=replace(network.trained, plan=plan))
    blend, obstacle = _blend(plan, rows, network, trees)
    if plan.family == "blend" and blend is not None:
        return _kept(blend[0], [network, trees, blend[0]], blend[1], asked_blend(blend[1]), "")
    candidates: list[Fitted[Model]] = [trees, network, *([blend[0]] if blend is not None else [])]
    place, reason = keep([c.trained.family for c in candidates], standings([c.row_losses for c in candidates]))
    chosen = candidates[place]
    weight = {"network": 1.0, "trees": 0.0}.get(chosen.trained.family, blend[1] if blend is not None else 0.0)
    return _kept(chosen, candidates, weight, reason, obstacle)


FAMILIES: Final[dict[str, Callable[[Plan, Rows], Fitted[Model]]]] = {
    "network": _network,
    "trees": _trees,
    "blend": _both,
    "auto": _both,
}
"""What a plan's family is trained by."""


def blend_weight(
    task: Task, target: Target, network: Prediction, trees: Prediction, balance: Balance | None = None
) -> float:
    """The network's share on a grid of twentieths: of those as good as the best, the one nearest to a half.

    Both losses are convex in the share. As good is what has less loss than either part alone and lies within half a
    standard error of the least: a few hundred rows do not tell 0.3 from 0.5, and a half is right more often.
    """
    losses = [losses_of(balance, task, target, w * network + (1 - w) * trees) for w in WEIGHTS]
    means = [float(loss.mean()) for loss in losses]
    best = int(np.argmin(means))
    alone = min(float(losses_of(balance, task, target, part).mean()) for part in (network, trees))
    good = [best]
    for i, loss in enumerate(losses):
        behind, error = paired(loss, losses[best])
        if means[i] < alone and (error is None or behind <= AS_GOOD * error):
            good.append(i)
    return round(float(min(WEIGHTS[good], key=lambda w: abs(w - 0.5))), 2)


def _blend(
    plan: Plan, rows: Rows, network: Fitted[Model], grown: Fitted[TreesModel]
) -> tuple[tuple[Fitted[Model], float] | None, str]:
    """The blend with its weight where both fit into the envelope together; otherwise why not."""
    limit = plan.envelope.parameters
    assert rows.train.target is not None
    balance = balance_of(plan.execution.balance, rows.train.target, len(grown.model.schema.classes))
    held: Fitted[TreesModel] | None = grown
    if limit is not None:
        held = cut_trees(grown, limit - network.trained.measured.parameters, rows.validation, balance)
    if held is None or held.trained.best_epoch < LEAST_OF_TREES * grown.trained.best_epoch:
        return None, "both together do not fit into the limit of parameters"
    a, b = network.trained.measured, held.trained.measured
    target = rows.validation.target
    assert target is not None
    task = network.model.schema.task
    network_says, trees_say = (m.predict_columns(rows.validation) for m in (network.model, held.model))
    weight = blend_weight(task, target, network_says, trees_say, balance)
    model = Blend(network.model, held.model, weight)
    cost = Cost(
        parameters=model.parameters,
        memory_bytes=a.memory_bytes + b.memory_bytes,
        train_time_s=round(a.train_time_s + b.train_time_s, 3),
        latency_s=predict_seconds(model, rows.validation),
    )
    obstacle = _over(cost, plan.envelope)
    if obstacle and plan.family != "blend":
        return None, f"both together do not fit into the limit of {obstacle}"
    mixed = weight * network_says + (1 - weight) * trees_say
    losses = losses_of(balance, task, target, mixed)
    scale = grown.model.blueprint.encoding.target_deviation
    mean = weight * np.array(network.trained.attention) + (1 - weight) * np.array(held.trained.attention)
    trained = replace(
        network.trained,
        artifact=model.artifact,
        loss=rounded(losses.mean() / scale**2),
        metric=metric_of(task, target, mixed, rows.config, groups_in(rows.train, grown.model.schema)),
        measured=cost,
        attention=tuple(rounded(a) for a in mean),
        family="blend",
        resources=both(network.trained.resources, held.trained.resources),
    )
    return (Fitted(model, trained, losses), weight), ""


def _over(cost: Cost, envelope: Envelope) -> str:
    """The first limit that is exceeded; training time is kept by the schedules."""
    for field, name in (("parameters", "parameters"), ("memory_bytes", "memory"), ("latency_s", "latency")):
        limit = getattr(envelope, field)
        if limit is not None and getattr(cost, field) > limit:
            return name
    return ""


def _kept(
    chosen: Fitted[Model], candidates: Sequence[Fitted[Model]], weight: float, reason: str, obstacle: str
) -> Fitted[Model]:
    found = standings([c.row_losses for c in candidates])
    tried = tuple(
        Candidate(
            family=c.trained.family,
            loss=c.trained.loss,
            metric=c.trained.metric,
            cost=c.trained.measured,
            row_loss=mean,
            behind=behind,
            error=error,
        )
        for c, (mean, behind, error) in zip(candidates, found, strict=True)
    )
    choice = Choice(candidates=tried, weight=weight, reason=with_obstacle(reason, obstacle), obstacle=obstacle)
    return replace(chosen, trained=replace(chosen.trained, choice=choice))
