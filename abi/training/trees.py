"""Growing boosted trees as a plan says: early stopping on validation loss, repeatable, within the time limit."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import psutil

from abi.errors import TrainingDiverged
from abi.execution.meter import Steps, metered
from abi.families.encoding import Layout, layout, learn_encoding, matrix
from abi.families.trees import TreesBlueprint, TreesModel, made
from abi.metrics import Target
from abi.outcomes import Epoch, Trained
from abi.planning.trees import threads_for
from abi.problem import Schema
from abi.training.balance import Balance, balance_of, losses_of
from abi.training.fitted import Fitted, groups_in, metric_of, rounded
from abi.training.latency import predict_seconds
from abi.training.watch import Unwatched, Watcher
from abi.trees_capacity import TreeFeature, TreePair, TreesCapacity
from abi.types import Cost, Plan

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

OBJECTIVES: Final = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}
LOSSES: Final = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "l2"}
LINES: Final = 60
"""About so many lines of history are kept."""
SAMPLE_S: Final = 0.005


def train_trees(
    plan: Plan,
    train: Columns,
    validation: Columns,
    config: Config,
    *,
    seed: int,
    watcher: Watcher | None = None,
    rounds: int | None = None,
) -> Fitted[TreesModel]:
    """Grow what `plan.trees` says and keep the rounds up to the least validation loss; or as many `rounds`, whatever it is.

    The same plan, rows and seed give the same trees bit by bit, unless the time limit cuts them short.

    Raises:
        TrainingDiverged: the validation loss became NaN or infinite.
    """
    import lightgbm  # noqa: PLC0415 - two seconds to import

    size, schema = plan.trees, plan.attention.scores.problem.schema
    assert size is not None
    assert train.target is not None
    assert validation.target is not None
    start = time.perf_counter()
    with metered("cpu") as meter, _memory_added() as added:
        encoding, rows = learn_encoding(schema, size, train, seed)
        held = matrix(encoding, validation)
        places = layout(schema, encoding)
        threads = threads_for(rows.size, plan.execution.threads)
        parameters = _parameters(size, schema, places, threads, seed)
        known: Any = list(places.category_columns) or "auto"
        mean, deviation = encoding.target_mean, encoding.target_deviation
        whole = lightgbm.Dataset(rows, (train.target - mean) / deviation if schema.task == "regression" else train.target, categorical_feature=known, params=parameters)  # fmt: skip
        judge = whole.create_valid(held, (validation.target - mean) / deviation if schema.task == "regression" else validation.target)  # fmt: skip
        balance = balance_of(plan.execution.balance, train.target, len(schema.classes))
        if balance is not None:
            _weigh(whole, train.target, balance, schema)
            _weigh(judge, validation.target, balance, schema)
        length = size.rounds if rounds is None else rounds
        growth = _Growth(
            length,
            size.patience if rounds is None else None,
            plan.envelope.train_time_s,
            watcher or Unwatched(),
            start,
            meter.steps,
        )
        meter.steps.begin()
        booster = lightgbm.train(
            parameters, whole, length, valid_sets=[judge], valid_names=["validation"], callbacks=[growth]
        )
        text = booster.model_to_string(num_iteration=growth.best)
        memory_bytes = max(added[0], rows.nbytes + held.nbytes)
        resources = meter.read(memory_bytes)
    seconds = time.perf_counter() - start
    blueprint = TreesBlueprint(family="trees", schema=schema, capacity=size, encoding=encoding, trees_sha256="")
    model = made(blueprint, text, plan.execution.threads)
    prediction = model.predict_matrix(held)
    losses = losses_of(balance, schema.task, validation.target, prediction)
    own = plan.attention.trees
    trained = Trained(
        plan=plan,
        seed=seed,
        artifact=model.artifact,
        best_epoch=growth.best,
        stopped=growth.stopped,
        loss=rounded(float(losses.mean()) / deviation**2),
        metric=metric_of(schema.task, validation.target, prediction, config, groups_in(train, schema)),
        measured=Cost(
            parameters=model.parameters,
            memory_bytes=memory_bytes,
            train_time_s=round(seconds, 3),
            latency_s=predict_seconds(model, validation),
        ),
        attention=tuple(w.weight for w in (own.weights if own is not None else plan.attention.weights)),
        history=tuple(growth.history),
        family="trees",
        resources=resources,
    )
    return Fitted(model, trained, losses)


def _weigh(rows: Any, target: Target, balance: Balance, schema: Schema) -> None:
    """Give a LightGBM dataset the weights of its rows' classes, and the raw scores to start from."""
    rows.set_weight(balance.weights[target.astype(np.int64)])
    start = balance.start(schema.task, len(target))
    if start is not None:
        rows.set_init_score(start)


def cut_trees(
    fitted: Fitted[TreesModel], parameters: int, validation: Columns, balance: Balance | None = None
) -> Fitted[TreesModel] | None:
    """The same trees with fewer rounds, so that they hold at most so many parameters; None where none does."""
    model = fitted.model.cut(parameters)
    if model is None or model is fitted.model:
        return None if model is None else fitted
    assert validation.target is not None
    losses = losses_of(balance, model.schema.task, validation.target, model.predict_columns(validation))
    measured = replace(fitted.trained.measured, parameters=model.parameters)
    loss = rounded(float(losses.mean()) / model.blueprint.encoding.target_deviation**2)
    trained = replace(fitted.trained, artifact=model.artifact, best_epoch=model.rounds, loss=loss, measured=measured)
    return Fitted(model, trained, losses)


def _parameters(size: TreesCapacity, schema: Schema, places: Layout, threads: int, seed: int) -> dict[str, Any]:
    """LightGBM's own names."""
    columns: list[TreeFeature | TreePair] = [
        *(size.features[i] for i in places.feature_of),
        *(size.pairs[i] for i in places.pair_of),
    ]
    given: dict[str, Any] = {
        "objective": OBJECTIVES[schema.task],
        "metric": LOSSES[schema.task],
        "learning_rate": size.learning_rate,
        "num_leaves": size.leaves,
        "min_data_in_leaf": size.least_rows,
        "feature_fraction": size.feature_share,
        "bagging_fraction": size.row_share,
        "bagging_freq": 1 if size.row_share < 1 else 0,
        "max_bin_by_feature": [max(2, c.bins) for c in columns],
        "max_bin": max(2, *(c.bins for c in columns)),
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "num_threads": threads,
        "verbosity": -1,
    }
    if schema.task == "multiclass":
        given["num_class"] = len(schema.classes)
    if any(c.contribution != 1.0 for c in columns):
        given["feature_contri"] = [c.contribution for c in columns]
    return given


class _Growth:
    """LightGBM's callback: history, early stopping (all rounds are kept where `patience` is None), the time limit."""

    order = 30
    before_iteration = False

    def __init__(
        self,
        rounds: int,
        patience: int | None,
        limit_s: float | None,
        watcher: Watcher,
        start: float,
        steps: Steps,
    ) -> None:
        self._rounds, self._patience, self._limit_s, self._watcher, self._steps = (
            rounds, patience, limit_s, watcher, steps,
        )  # fmt: skip
        self._start = self._last = start
        self._every = max(1, rounds // LINES)
        self._least = math.inf
        self.best = 1
        self.history: list[Epoch] = []
        self.stopped: Literal["finished", "early", "time"] = "finished"

    def __call__(self, state: Any) -> None:
        """One round is through.

        Raises:
            TrainingDiverged: the loss is not finite.
            EarlyStopException: LightGBM's own way to end.
        """
        from lightgbm.callback import EarlyStopException  # noqa: PLC0415

        self._steps.tick()
        loss, done, now = float(state.evaluation_result_list[0][2]), state.iteration + 1, time.perf_counter()
        if not math.isfinite(loss):
            msg = f"Validation loss became {loss} in round {done}: lower training.trees.learning_rate or check the data for extreme values."
            raise TrainingDiverged(msg)
        if loss < self._least or self._patience is None:
            self._least, self.best = loss, done
        if done % self._every == 0 or done == 1:
            line = Epoch(epoch=done, train_loss=None, validation_loss=rounded(loss), metric=None, seconds=round(now - self._last, 4))  # fmt: skip
            self.history.append(line)
            self._watcher.epoch(line, np.zeros(0), {})
            self._last = now
        self._watcher.step(done, self._rounds)
        if self._limit_s is not None and now - self._start > self._limit_s:
            self.stopped = "time"
        elif self._patience is not None and done - self.best >= self._patience:
            self.stopped = "early"
        else:
            return
        raise EarlyStopException(self.best - 1, state.evaluation_result_list)


@contextmanager
def _memory_added() -> Iterator[list[int]]:
    """Bytes that the process grew by at most, sampled while the block runs: LightGBM keeps no account of its own."""
    process, result, over = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not over.wait(SAMPLE_S):
            result[0] = max(result[0], process.memory_info().rss - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield result
    finally:
        over.set()
        thread.join()
