"""Trees and blends: what they predict, on disk and off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from abi.errors import DataError, WorkspaceError
from abi.families.blend import Blend
from abi.families.family import MODEL, Model
from abi.families.stored import load
from abi.families.trees import TREES, tree_parameters
from abi.planning.family import plan_family
from abi.training.trees import train_trees
from abi.types import Envelope

TASKS = ["binary", "multiclass", "regression"]


def _grown(toy: Any, task: str) -> tuple[Any, Any]:
    table = toy.table(task)
    config = toy.config(training__trees__rounds=12, training__trees__leaves=4)
    plan = plan_family(
        toy.attention(table.problem),
        Envelope(),
        config,
        toy.machine,
        train_rows=180,
        validation_rows=60,
        family="trees",
    )
    return table, train_trees(plan, table.train, table.validation, config, seed=0).model


@pytest.fixture(scope="module", name="models")
def _models(toy: Any) -> dict[str, tuple[Any, Any]]:
    return {task: _grown(toy, task) for task in TASKS}


@pytest.fixture(scope="module", name="blend")
def _blend(toy: Any, models: Any) -> tuple[Any, Blend]:
    table, trees = models["multiclass"]
    return table, Blend(toy.fitted(table, epochs=1).model, trees, 0.25)


def _write(model: Model, folder: Path) -> Path:
    for name, content in model.files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_saved_and_loaded_it_predicts_the_same_bits(models: Any, task: str, tmp_path: Path) -> None:
    table, model = models[task]
    again = load(_write(model, tmp_path))
    assert (again.artifact, again.parameters) == (model.artifact, model.parameters)
    np.testing.assert_array_equal(again.predict_columns(table.validation), model.predict_columns(table.validation))


def test_a_frame_is_predicted_as_its_columns_are(models: Any) -> None:
    table, model = models["multiclass"]
    rows = table.validation
    frame = pd.DataFrame(
        {
            "x0": rows.numeric[:, 0],
            "x1": rows.numeric[:, 1],
            "c0": np.array(rows.categorical[0].values)[rows.categorical[0].codes],
        }
    )
    result = model.predict(frame[["c0", "x1", "x0"]])
    np.testing.assert_array_equal(result.iloc[:, 1:], model.predict_columns(rows))
    np.testing.assert_allclose(result.iloc[:, 1:].sum(axis=1), 1)


@pytest.mark.parametrize("task", TASKS)
def test_no_rows_give_no_predictions(models: Any, task: str) -> None:
    table, model = models[task]
    none = model.predict_columns(table.validation.take(np.arange(0)))
    assert none.shape == ((0,) if task == "regression" else (0, len(table.problem.schema.classes)))


def test_parameters_are_leaf_values_thresholds_and_words_of_categories() -> None:
    text = (
        "tree\n\nTree=0\nnum_leaves=3\nnum_cat=1\ncat_boundaries=0 2\ncat_threshold=5 9\n\n"
        "Tree=1\nnum_leaves=1\nnum_cat=0\n\nTree=2\nnum_leaves=4\nnum_cat=0\n"
    )
    assert tree_parameters(text) == [5 + 1, 1, 7]


def test_trees_are_cut_to_what_fits(models: Any) -> None:
    table, model = models["binary"]
    per_round = np.cumsum(tree_parameters(model.text))
    cut = model.cut(int(per_round[3]))
    assert cut.rounds == 4
    assert cut.parameters == per_round[3]
    assert model.cut(int(per_round[0]) - 1) is None
    assert model.cut(10**9) is model
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(cut.predict_columns(table.train), model.predict_columns(table.train))


@pytest.mark.parametrize("name", [MODEL, TREES])
@pytest.mark.parametrize("harm", ["changed", "cut", "gone"])
def test_damaged_trees_are_refused(models: Any, tmp_path: Path, name: str, harm: str) -> None:
    path = _write(models["regression"][1], tmp_path) / name
    content = path.read_text()
    if harm == "gone":
        path.unlink()
    else:
        path.write_text(content[: len(content) // 2] if harm == "cut" else _one_digit_up(content))
    with pytest.raises(WorkspaceError, match="Train the model again"):
        load(tmp_path)


def _one_digit_up(text: str) -> str:
    place = next(i for i in range(len(text) // 2, len(text)) if text[i] in "01234567" and text[i - 1] == ".")
    return text[:place] + str(int(text[place]) + 1) + text[place + 1 :]


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    (tmp_path / MODEL).write_text(json.dumps({"family": "forest"}))
    with pytest.raises(WorkspaceError, match="'forest'"):
        load(tmp_path)


def test_a_blend_is_the_weighted_mean_of_its_parts(blend: Any, tmp_path: Path) -> None:
    table, model = blend
    rows = table.validation
    expected = 0.25 * model.network.predict_columns(rows) + 0.75 * model.trees.predict_columns(rows)
    np.testing.assert_allclose(model.predict_columns(rows), expected)
    again = load(_write(model, tmp_path))
    assert (again.artifact, again.parameters) == (model.artifact, model.network.parameters + model.trees.parameters)
    np.testing.assert_array_equal(again.predict_columns(rows), model.predict_columns(rows))


def test_a_blend_with_anothers_part_is_refused(blend: Any, models: Any, tmp_path: Path) -> None:
    folder = _write(blend[1], tmp_path)
    for name, content in models["binary"][1].files().items():
        (folder / "trees" / name).write_bytes(content)
    with pytest.raises(WorkspaceError, match="got others"):
        load(folder)


def test_a_frame_with_the_names_of_a_header_with_blanks_is_predicted(models: Any) -> None:
    _, model = models["binary"]
    names = list(dict.fromkeys(feature.column for feature in model.schema.features))
    frame = pd.DataFrame({name: np.linspace(-1, 1, 5) for name in names})
    blank = frame.rename(columns={name: f" {name} " for name in names}).assign(**{names[0]: frame[names[0]]})
    pd.testing.assert_frame_equal(model.predict(blank), model.predict(frame))
    with pytest.raises(DataError, match="more than once"):
        model.predict(frame.rename(columns={names[0]: f" {names[0]}"}).assign(**{f"{names[0]} ": 0.0}))
