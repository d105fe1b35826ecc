"""Models of tables with free text, from training to a folder and back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from abi.families.artifact import Model, load
from abi.types import Envelope

TASKS = ["binary", "multiclass", "regression"]
LEARNING: dict[str, Any] = {"epochs": 25, "batch_rows": 32, "learning_rate": 2e-2, "patience": 99}


@pytest.fixture(
    scope="module", params=[(task, frugal, mixed) for task in TASKS for frugal in (0, 1) for mixed in (0, 1)]
)
def _run(toy: Any, request: Any) -> tuple[Any, Any]:
    task, frugal, mixed = request.param
    table = toy.texts(task, rows=480, numeric=2 * mixed, categorical=mixed)
    attention = toy.attention(table.problem, frugal=bool(frugal), terms=table.terms)
    envelope = Envelope(parameters=4000)
    return table, toy.fitted(table, attention=attention, envelope=envelope, **LEARNING)


@pytest.fixture(scope="module", name="run")
def _named(_run: Any) -> Any:
    return _run


def _frame(table: Any, rows: Any) -> pd.DataFrame:
    text, *colours = rows.categorical
    frame = pd.DataFrame({f"x{i}": column for i, column in enumerate(rows.numeric.T)}, index=range(len(rows)))
    for name, column in (("t0", text), *((f"c{i}", c) for i, c in enumerate(colours))):
        frame[name] = np.array([*column.values, None], dtype=object)[column.codes]
    return frame


def test_it_learns_far_better_than_chance(run: Any) -> None:
    table, fitted = run
    task, truth = table.problem.schema.task, table.validation.target
    prediction = fitted.model.predict_columns(table.validation)
    narrow = fitted.trained.plan.capacity.features[0].width == 1  # an even split of so little is a number per term
    if task == "regression":
        assert 1 - np.square(truth - prediction).mean() / truth.var() > (0.2 if narrow else 0.5)
    else:
        assert (prediction.argmax(1) == truth).mean() > {"binary": 0.85, "multiclass": 0.6 if narrow else 0.75}[task]


def test_within_its_envelope(run: Any) -> None:
    _, fitted = run
    assert fitted.trained.measured.parameters <= fitted.trained.plan.predicted.parameters <= 4000


def test_saved_and_loaded_it_predicts_the_same_bits(run: Any, tmp_path: Path) -> None:
    table, fitted = run
    for name, content in fitted.model.files().items():
        (tmp_path / name).write_bytes(content)
    again = load(tmp_path)
    assert again.blueprint == fitted.model.blueprint
    np.testing.assert_array_equal(
        again.predict_columns(table.validation), fitted.model.predict_columns(table.validation)
    )
    np.testing.assert_array_equal(
        again.predict(_frame(table, table.validation))["prediction"],
        fitted.model.predict(_frame(table, table.validation))["prediction"],
    )


def test_texts_alone_among_others_and_in_another_order(run: Any) -> None:
    table, fitted = run
    whole = fitted.model.predict_columns(table.validation)
    order = np.array([7, 0, 3])
    np.testing.assert_allclose(fitted.model.predict_columns(table.validation.take(order)), whole[order], rtol=1e-5)
    np.testing.assert_allclose(
        fitted.model.predict_columns(table.validation.take(order[:1])), whole[order[:1]], rtol=1e-5
    )


def test_missing_empty_and_unknown_texts_are_the_same_to_the_model(run: Any) -> None:
    table, fitted = run
    frame = _frame(table, table.validation).iloc[[2] * 5].reset_index(drop=True)
    frame["t0"] = [None, "", np.nan, "entirely unheard", "\U0001f600 \x00"]
    found = fitted.model.predict(frame).drop(columns="prediction", errors="ignore")
    if table.problem.schema.task == "regression":
        found = fitted.model.predict(frame)
    values = found.to_numpy(dtype=float)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values, np.broadcast_to(values[0], values.shape), rtol=1e-5)
    assert len(fitted.model.predict(frame.iloc[:0])) == 0


def test_the_terms_that_are_named_are_the_widest(run: Any) -> None:
    table, fitted = run
    named = fitted.trained.terms
    widths = [t.width for t in named]
    assert widths == sorted(widths, reverse=True)
    scores = dict(zip(table.terms[0].terms, table.terms[0].scores, strict=True))
    assert all(t.score == pytest.approx(scores[t.term], rel=1e-6) for t in named)
    if fitted.trained.plan.attention.frugal:
        assert {t.term for t in named[:12]} & {"says0", "says1"}


def test_one_row_is_answered_in_milliseconds(run: Any) -> None:
    table, fitted = run
    times = []
    for i in range(30):
        row = table.validation.take(np.array([i]))
        start = time.perf_counter()
        fitted.model.predict_columns(row)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 0.05  # some 1 ms; reading the vocabulary for each row takes ten times as long


def test_a_model_without_any_term_left_still_predicts(toy: Any) -> None:
    table = toy.texts("binary", numeric=1)
    fitted: Model = toy.fitted(table, epochs=1).model
    encoder: Any = fitted.network.texts[0]
    encoder.keep(torch.tensor([], dtype=torch.int64))
    assert np.isfinite(fitted.predict_columns(table.validation)).all()
