"""What a stream ends with says of new rows what its learner would say of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abi.adapting.ending import end, mixture, obstacle
from abi.adapting.learner import ChampionModel, View
from abi.adapting.plans import Planning
from abi.adapting.prequential import losses
from abi.adapting.run import Run
from abi.data.columns import encode
from abi.families.mixture import Mixture
from abi.families.stored import load
from abi.problem import DataFile, Snapshot

AHEAD = 30
SETTINGS = {"adapt__halves": [0, 8], "adapt__lags": 2, "adapt__rounds": 3, "adapt__drift": 0, "monitor__psi": 9}


def table_of(task, rows, seed=0):
    random = np.random.default_rng(seed)
    table = pd.DataFrame({"a": random.normal(size=rows), "b": random.normal(size=rows).cumsum()})
    table["c"] = random.choice(["u", "v", None], rows)
    table.loc[random.random(rows) < 0.1, "b"] = np.nan
    value = table["a"] + np.where(table["c"] == "u", 1.0, 0.0) + 0.3 * random.normal(size=rows)
    if task == "regression":
        table["y"] = value
    else:
        cuts = [0.5] if task == "binary" else [0.0, 1.0]
        table["y"] = np.array(["low", "high", "top"])[np.digitize(value, cuts)]
    return table


def kept(model, folder: Path):
    for name, data in model.files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return load(folder)


def warm(stream, champion: Mixture) -> ChampionModel:
    columns = encode(stream.table, champion.schema, with_target=False)
    return ChampionModel(columns, stream.places(champion.schema), champion, None, champion.schema)


def followed(brook, config, table, champion=None) -> Run:
    stream, _ = brook.open(table, config)
    run = Run(stream, Planning(brook.machine, config), None if champion is None else warm(stream, champion))
    run.start()
    while not run.done:
        run.step()
    run.finish()
    return run


def learner_says(brook, run, table, ahead):
    """Of rows without labels behind the stream's last one, by the run's own learner."""
    rows, learner = len(table), run.learner
    longer, _ = brook.open(pd.concat([table, ahead.assign(y=None)], ignore_index=True), run.config)
    assert longer.classes == run.stream.classes
    learner.stream, learner.own.view = longer, View.of(longer, learner.own.view.schema)
    if learner.champion is not None:
        learner.champion = warm(longer, learner.champion.model)
    said = np.stack(learner.predict(range(rows, rows + len(ahead))))
    return np.tensordot(run.blend.weights, said, 1)


def same(model, found, run, ahead):
    told = model.predict(ahead)
    if run.stream.numeric:
        np.testing.assert_allclose(told["prediction"], found, rtol=1e-6, atol=1e-9)
        return
    names = [f"probability_{name}" for name in run.stream.classes]
    np.testing.assert_allclose(told[names], found, rtol=1e-5, atol=1e-7)
    assert told["prediction"].tolist() == [run.stream.classes[i] for i in found.argmax(axis=1)]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_stored_mixture_says_what_the_learner_would(brook, tmp_path, task):
    config = brook.config(adapt__warmup=120, **SETTINGS)
    whole = table_of(task, 240 + AHEAD)
    table, ahead = whole[:240], whole[240:].drop(columns="y").reset_index(drop=True)
    run = followed(brook, config, table)
    made = mixture(run)
    wanted = {"network", "trees"} | (set() if task == "binary" else {"change"})
    assert set(made.parts) == wanted
    assert sum(made.blueprint.shares.values()) == pytest.approx(1.0)
    assert {f.column for f in made.schema.features} == {"a", "b", "c"}
    model = kept(made, tmp_path)
    assert model.artifact == made.artifact
    found = learner_says(brook, run, table, ahead)
    same(model, found, run, ahead)
    # the rows' order counts: each is told by how far it moved from those before
    assert not np.allclose(
        model.predict(ahead[::-1])["prediction" if run.stream.numeric else "probability_low"].to_numpy()[::-1],
        model.predict(ahead)["prediction" if run.stream.numeric else "probability_low"],
    )


def test_a_champion_that_followed_a_stream_itself_is_a_part_that_has_gone_on(brook, tmp_path):
    config = brook.config(adapt__warmup=120, **SETTINGS)
    first = kept(mixture(followed(brook, config, table_of("multiclass", 200))), tmp_path / "first")
    whole = table_of("multiclass", 200 + AHEAD, seed=1)
    table, ahead = whole[:200], whole[200:].drop(columns="y").reset_index(drop=True)
    run = followed(brook, config, table, first)
    made = mixture(run)
    assert made.parts["champion"].blueprint.onward != first.blueprint.onward
    same(kept(made, tmp_path / "second"), learner_says(brook, run, table, ahead), run, ahead)


def test_a_champion_that_is_no_longer_heard_is_left_out(brook, tmp_path):
    config = brook.config(adapt__warmup=120, **SETTINGS)
    first = kept(mixture(followed(brook, config, table_of("multiclass", 200))), tmp_path / "first")
    run = followed(brook, config, table_of("multiclass", 200, seed=1), first)
    place = run.learner.names.index("champion")
    best = np.delete(run.blend.losses, place).min()

    def ended(nats: float) -> Mixture:
        run.blend.losses[place] = best + nats * run.blend.temperature
        return mixture(run)

    without, held = ended(20), ended(11)
    assert set(held.parts) - set(without.parts) == {"champion"}
    assert sum(without.blueprint.shares.values()) == pytest.approx(1.0)
    assert without.schema.classes == held.schema.classes
    ahead = table_of("multiclass", AHEAD, seed=2).drop(columns="y")
    told = [kept(m, tmp_path / str(i)).predict(ahead).filter(like="probability") for i, m in enumerate((without, held))]
    np.testing.assert_allclose(*told, atol=1e-4)


def test_the_figures_are_of_each_row_before_it_was_learned_from(brook):
    config = brook.config(evaluation__resamples=100)
    run = followed(brook, config, brook.flip(500, 250))
    file = DataFile(role="train", format="csv", md5="0" * 32, sha256="0" * 64, size_bytes=1, rows=500)
    assert obstacle(run) == ""
    ended = end(run, Snapshot(files=(file,)), 7)
    found, along = ended.evaluation, ended.evaluation.along
    right = 1 - losses(run.stream, run.trail.says["adapted"])[100:]
    never = 1 - losses(run.stream, run.trail.says["never adapted"])[100:]
    assert found.metrics["accuracy"].value == pytest.approx(right.mean())
    assert along.gain.difference.value == pytest.approx(right.mean() - never.mean())
    assert along.gain.difference.low > 0
    assert (found.rows, along.champion, along.begin) == (400, 7, 100)
    assert found.signal.gain.difference.low > 0
    assert found.trained.artifact == ended.model.artifact
    assert found.trained.measured.parameters == ended.model.parameters
    problem = found.trained.plan.attention.scores.problem
    assert problem.schema == ended.model.schema
    assert [f.feature for f in ended.reference.features] == [f.name for f in problem.schema.features]
    assert replace(found, along=None).to_json().keys() == found.to_json().keys() - {"along"}


def test_the_last_block_is_learned_from_before_the_end(brook):
    config = brook.config(adapt__rounds=3)
    run = Run(brook.open(brook.flip(180, 180), config)[0], Planning(brook.machine, config))
    run.start()
    while not run.done:
        run.step()
    before, seen = run.learner.own.network.model.artifact, run.blend.rows
    run.finish()
    assert run.learner.own.network.model.artifact != before
    assert (run.absorbed, run.blend.rows - seen) == (180, 1)  # all but the last row's label had been looked at


@pytest.mark.parametrize("due", [False, True])
def test_trees_that_are_grown_at_the_very_end_are_counted_too(brook, monkeypatch, due):
    config = brook.config(adapt__experts=["trees"])
    run = brook.finished(brook.flip(180, 180), config)
    monkeypatch.setattr(run.learner, "due", lambda row: due)
    before = run.trail.grown
    run.finish()
    assert run.trail.grown == before + due
