"""Weights that training drops, wherever they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from abi.errors import WorkspaceError
from abi.families.artifact import WEIGHTS, load
from abi.families.family import MODEL
from abi.families.sparse import masks_of, parameters
from abi.training.loop import train
from abi.training.prune import left_at, stage_at
from abi.training.watch import Unwatched
from abi.types import Plan
from tests.abi.training.conftest import Kept


def test_weights_left_by_hand() -> None:
    # from 1,064 to 64: begins at 0.05, half-way at 0.225 where (1 - 1/2)^3 = 1/8 of the thousand is left, ends at 0.4
    left = [left_at(stage_at(share), 1064, 64) for share in (0.0, 0.05, 0.225, 0.4, 1.0)]
    assert left == [1064, 1064, 64 + 125, 64, 64]


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_weights_never_come_back(a: int, b: int, shares: list[float]) -> None:
    start, final = max(a, b), min(a, b)
    left = [left_at(stage_at(share), start, final) for share in sorted(shares)]
    assert left == sorted(left, reverse=True)
    assert [left_at(stage_at(share), start, final) for share in (0.0, 1.0)] == [start, final]


def _plan(toy: Any, table: Any, limit: int = 300, epochs: int = 8, **settings: Any) -> Plan:
    config = toy.config(training__epochs=epochs, training__block_width=32, training__blocks=2, **settings)
    attention = toy.attention(table.problem, frugal=True, pruned=True)
    plan = toy.plan(table.problem, config, attention, parameters=limit)
    assert plan.capacity.pruning is not None, "the test needs a plan that prunes"
    return replace(plan, execution=replace(plan.execution, batch_rows=20))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_what_is_left_is_the_plans(toy: Any, task: Any) -> None:
    table = toy.table(task, numeric=2, categorical=1)
    plan = _plan(toy, table, 400)
    fitted = train(plan, table.train, table.validation, toy.config(), seed=0)
    model, pruning = fitted.model, plan.capacity.pruning
    assert pruning is not None
    assert model.parameters <= pruning.parameters == plan.predicted.parameters
    assert fitted.trained.measured.parameters == model.parameters
    weights = dict(model.network.named_parameters())
    for name, mask in masks_of(model.network).items():
        assert torch.count_nonzero(weights[name][~mask]) == 0
    backbone = sum(
        int(mask.sum())
        for name, mask in masks_of(model.network).items()
        if name.startswith(("layers", "head")) and name.endswith("weight")
    )
    assert backbone * plan.capacity.members <= pruning.macs
    assert np.isfinite(fitted.trained.loss)


def test_what_is_left_where_is_told(toy: Any) -> None:
    table = toy.table("binary", numeric=3, categorical=1)
    trained = train(_plan(toy, table, 400, 40), table.train, table.validation, toy.config(), seed=0).trained
    layers = trained.layers
    assert layers is not None
    assert layers.feature_extraction + layers.middle + layers.output == trained.measured.parameters
    assert len(trained.kept) == 4
    assert all(kept >= 0 for kept in trained.kept)
    assert trained.kept[0] == max(trained.kept), "the target follows the first feature"


def test_a_plan_that_keeps_all_says_nothing_of_it(toy: Any) -> None:
    trained = toy.fitted(toy.table("binary")).trained
    assert (trained.kept, trained.layers) == ((), None)


def test_a_pruned_model_is_written_small_and_read_back(toy: Any, tmp_path: Path) -> None:
    table = toy.table("binary")
    plan = _plan(toy, table, 300)
    model = train(plan, table.train, table.validation, toy.config(), seed=0).model
    files = model.files()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    again = load(tmp_path)
    assert again.parameters == model.parameters
    np.testing.assert_array_equal(again.predict_columns(table.validation), model.predict_columns(table.validation))
    assert len(files[WEIGHTS]) < 4 * sum(p.numel() for p in model.network.parameters())


def test_a_pruned_model_without_some_of_its_weights_is_refused(toy: Any, tmp_path: Path) -> None:
    table = toy.table("binary")
    model = train(_plan(toy, table, 300), table.train, table.validation, toy.config(), seed=0).model
    files = model.files()
    tensors = load_tensors(files[WEIGHTS])
    tensors["head.weight"] = tensors["head.weight"][1:]
    (tmp_path / MODEL).write_bytes(files[MODEL])
    (tmp_path / WEIGHTS).write_bytes(save_tensors(tensors, metadata={"blueprint": model.blueprint.id}))
    with pytest.raises(WorkspaceError, match=r"head\.weight has"):
        load(tmp_path)


class _Stop(Exception):
    """The process is killed."""


class _Killer(Unwatched):
    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, done: int, total: int) -> None:
        if done >= self.at:
            raise _Stop


@pytest.mark.parametrize(
    ("batch", "epochs", "at", "average"),
    [(20, 8, 15, 0.0), (20, 8, 29, 0.9), (20, 8, 58, 0.0), (20, 8, 58, 0.9), (4, 8, 61, 0.0)],
)
def test_killed_and_resumed_is_the_same(toy: Any, batch: int, epochs: int, at: int, average: float) -> None:
    """Also where several steps share a stage, so that the one that was due is not repeated."""
    table = toy.table("binary")
    plan = _plan(toy, table, 300, epochs)
    plan = replace(plan, execution=replace(plan.execution, average=average, patience=100, batch_rows=batch))
    config = toy.config(training__checkpoint="0.000001s")
    whole = train(plan, table.train, table.validation, config, seed=3)
    kept = Kept()
    with pytest.raises(_Stop):
        train(plan, table.train, table.validation, config, seed=3, watcher=_Killer(at), checkpoints=kept)
    assert kept.load() is not None
    resumed = train(plan, table.train, table.validation, config, seed=3, checkpoints=kept)
    assert [line.validation_loss for line in resumed.trained.history] == [
        line.validation_loss for line in whole.trained.history
    ]
    assert resumed.trained.artifact == whole.trained.artifact
    assert parameters(resumed.model.network) == parameters(whole.model.network)


def test_attention_decides_what_goes_first(toy: Any) -> None:
    """Of two features that tell alike, the attended one keeps more."""
    table = toy.table("binary", rows=400, numeric=2, categorical=0)
    twin = replace(table.train, numeric=np.column_stack([table.train.numeric[:, 0]] * 2))
    held = replace(table.validation, numeric=np.column_stack([table.validation.numeric[:, 0]] * 2))
    kept = np.zeros(2)
    for seed in range(3):
        plan = _plan(toy, table, 300)
        weights = tuple(replace(w, weight=share) for w, share in zip(plan.attention.weights, (0.2, 0.8), strict=True))
        plan = replace(plan, attention=replace(plan.attention, weights=weights))
        kept += train(plan, twin, held, toy.config(), seed=seed).trained.kept
    assert kept[1] > kept[0]
