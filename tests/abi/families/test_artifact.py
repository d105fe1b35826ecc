"""A model on disk and what it predicts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from abi.errors import DataError, WorkspaceError
from abi.families.artifact import MODEL, WEIGHTS, Model, joined, load

TASKS = ["binary", "multiclass", "regression"]


@pytest.fixture(scope="module", name="models")
def _models(toy: Any) -> dict[str, tuple[Any, Model]]:
    tables = {task: toy.table(task) for task in TASKS}
    return {task: (table, toy.fitted(table, epochs=1).model) for task, table in tables.items()}


def _write(model: Model, folder: Path) -> Path:
    for name, content in model.files().items():
        (folder / name).write_bytes(content)
    return folder


def _frame(table: Any) -> pd.DataFrame:
    rows = table.validation
    colours = np.array([*rows.categorical[0].values, None], dtype=object)
    return pd.DataFrame({"x0": rows.numeric[:, 0], "x1": rows.numeric[:, 1], "c0": colours[rows.categorical[0].codes]})


@pytest.mark.parametrize("task", TASKS)
def test_saved_and_loaded_it_predicts_the_same_bits(models: Any, task: str, tmp_path: Path) -> None:
    table, model = models[task]
    again = load(_write(model, tmp_path))
    assert again.blueprint == model.blueprint
    assert again.artifact == model.artifact
    np.testing.assert_array_equal(again.predict_columns(table.validation), model.predict_columns(table.validation))


@pytest.mark.parametrize("task", TASKS)
def test_a_frame_is_predicted_as_its_columns_are(models: Any, task: str) -> None:
    table, model = models[task]
    frame = _frame(table).set_axis([f"row {i}" for i in range(60)])
    shuffled = frame[["c0", "x1", "x0"]].assign(extra=1)
    result, arrays = model.predict(shuffled), model.predict_columns(table.validation)
    assert list(result.index) == list(frame.index)
    if task == "regression":
        np.testing.assert_array_equal(result["prediction"], arrays)
        return
    classes = table.problem.schema.classes
    assert list(result.columns) == ["prediction", *(f"probability_{c}" for c in classes)]
    np.testing.assert_array_equal(result.iloc[:, 1:], arrays)
    assert list(result["prediction"]) == [classes[i] for i in arrays.argmax(1)]
    np.testing.assert_allclose(arrays.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_one_row_alone_gets_what_it_gets_among_others(models: Any, task: str) -> None:
    table, model = models[task]
    alone = model.predict_columns(table.validation.take(np.array([7])))
    np.testing.assert_allclose(alone[0], model.predict_columns(table.validation)[7], rtol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_no_rows_are_no_predictions(models: Any, task: str) -> None:
    table, model = models[task]
    empty = model.predict(_frame(table).iloc[:0])
    assert len(empty) == 0
    assert list(empty.columns) == list(model.predict(_frame(table)).columns)


def test_more_rows_than_a_chunk(models: Any) -> None:
    table, model = models["binary"]
    many = table.validation.take(np.arange(60).repeat(50))
    np.testing.assert_allclose(
        model.predict_columns(many), model.predict_columns(table.validation).repeat(50, axis=0), rtol=1e-5
    )


@pytest.mark.parametrize("task", TASKS)
def test_unseen_missing_and_infinite_values_are_predicted_finitely(models: Any, task: str) -> None:
    _, model = models[task]
    frame = pd.DataFrame({"x0": [np.nan, np.inf, -np.inf, 1e300], "x1": [0.0] * 4, "c0": ["pink", None, "red", "blue"]})
    assert np.isfinite(model.predict(frame).select_dtypes("number").to_numpy()).all()


def test_all_unseen_categories_are_the_same_to_the_model(models: Any) -> None:
    _, model = models["binary"]
    frame = pd.DataFrame({"x0": [0.1] * 3, "x1": [0.2] * 3, "c0": ["pink", "mauve", "red"]})
    first, second, known = model.predict(frame)["probability_yes"]
    assert first == second
    assert first != known


def test_a_lacking_column_is_named(models: Any) -> None:
    table, model = models["binary"]
    with pytest.raises(DataError, match="'x1'"):
        model.predict(_frame(table).drop(columns="x1"))


def test_members_are_averaged_after_the_link() -> None:
    logits = torch.tensor([[[0.0], [np.log(3.0)]]], dtype=torch.float32)  # chances 1/2 and 3/4
    assert joined(logits, "binary").tolist() == pytest.approx([0.625])
    assert joined(logits, "regression").tolist() == pytest.approx([np.log(3) / 2])
    three = torch.tensor([[[0.0, 0.0], [np.log(3.0), 0.0]]], dtype=torch.float32)
    assert joined(three, "multiclass")[0].tolist() == pytest.approx([0.625, 0.375])


@pytest.mark.parametrize("name", [MODEL, WEIGHTS])
def test_a_missing_file_is_named(models: Any, name: str, tmp_path: Path) -> None:
    folder = _write(models["binary"][1], tmp_path)
    (folder / name).unlink()
    with pytest.raises(WorkspaceError, match=name):
        load(folder)


def test_weights_of_another_model_are_refused(models: Any, tmp_path: Path) -> None:
    folder = _write(models["binary"][1], tmp_path)
    (folder / WEIGHTS).write_bytes(models["multiclass"][1].files()[WEIGHTS])
    with pytest.raises(WorkspaceError, match="Expected weights of blueprint"):
        load(folder)


def test_a_changed_blueprint_is_refused(models: Any, tmp_path: Path) -> None:
    folder = _write(models["binary"][1], tmp_path)
    plain = json.loads((folder / MODEL).read_text())
    plain["schema"]["classes"] = ["yes", "no"]
    (folder / MODEL).write_text(json.dumps(plain))
    with pytest.raises(WorkspaceError, match="Expected weights of blueprint"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (MODEL, b"{"),
        (MODEL, b"[]"),
        (MODEL, b"{}"),
        (MODEL, b"\xff"),
        (WEIGHTS, b""),
        (WEIGHTS, b"short"),
        (WEIGHTS, b"x" * 999),
    ],
)
def test_damaged_files_are_refused(models: Any, name: str, content: bytes, tmp_path: Path) -> None:
    folder = _write(models["binary"][1], tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(WorkspaceError, match="Expected"):
        load(folder)


def test_truncated_weights_are_refused(models: Any, tmp_path: Path) -> None:
    folder = _write(models["binary"][1], tmp_path)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-4])
    with pytest.raises(WorkspaceError, match="damaged"):
        load(folder)


def test_the_artifact_is_the_hash_of_the_weights_and_follows_them(models: Any) -> None:
    _, model = models["binary"]
    before = model.artifact
    assert before == model.artifact
    other = Model(replace(model.blueprint, dropout=0.123), model.network)
    assert other.artifact != before
