"""What a model was trained on, in few enough numbers to be kept with every run.

Cells are chosen on a hash sample of the rows and counted over all of them, so time is linear in the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Int64

from abi.data.columns import MISSING_CODE, Codes, Columns
from abi.data.split import splitmix64
from abi.inputs.terms import count_terms
from abi.monitored import Distribution, Fine, Reference
from abi.monitoring.tally import Values, columns_of, tally
from abi.problem import Problem, Schema
from abi.scoring.edges import numeric_bins
from abi.training.data_attention import data_weights, judged_temperature

if TYPE_CHECKING:
    from abi.config import Config
    from abi.types import Attention

BINS: Final = 10
"""Quantile bins of the stability index, as Siddiqi (2006) has them."""
FINE: Final = 160
VALUES: Final = 50
TERMS: Final = 50
SAMPLE_ROWS: Final = 65_536
TEXTS: Final = 8_192
MOVED: Final = 0.01
"""Share of the rows that rounding may put on the other side of a fine cell's end."""
_SEED: Final = 0xD1F7
_LARGEST: Final = float(np.finfo(np.float32).max)


def refer(
    problem: Problem,
    train: Columns,
    held_out: Float[np.ndarray, "rows ..."],
    attention: Attention,
    artifact: str,
    config: Config,
) -> Reference:
    """The reference of a model.

    Args:
        problem: what was learned.
        train: its training rows.
        held_out: the model's predictions for rows that it was not trained on.
        attention: of the first round, whose scores are the data's.
        artifact: SHA-256 of the weights.
        config: scoring, and the temperature where the even split was kept.
    """
    temperature = judged_temperature(attention, config)
    return Reference(
        problem=problem.id,
        snapshot=problem.snapshot.train.sha256,
        artifact=artifact,
        rows=len(train),
        features=describe_all(problem.schema, train),
        prediction=describe_predictions(problem.schema, held_out),
        weights=data_weights(
            attention.scores, temperature, attention.floor, attention.cap, attention.blend, attention.tail
        ),
        temperature=temperature,
        floor=attention.floor,
        cap=attention.cap,
        blend=attention.blend,
        scoring=config.scoring.model_dump(mode="json"),
        tail=attention.tail,
    )


def describe_all(schema: Schema, train: Columns) -> tuple[Distribution, ...]:
    """Each feature of the rows, in schema order."""
    picked = _sample(train.row_numbers)
    found = []
    for feature, column in zip(schema.features, columns_of(train, schema.features), strict=True):
        cells = CELLS["text" if feature.of_text else "numeric" if feature.kind == "numeric" else "category"]
        made = describe(feature.name, column, cells, picked)
        found.append(replace(made, calendar=feature.part is not None))
    return tuple(found)


def describe_predictions(schema: Schema, predicted: Float[np.ndarray, "rows ..."]) -> Distribution | None:
    """The distribution of `prediction_column`; None without rows."""
    if not len(predicted):
        return None
    column = prediction_column(schema, predicted)
    cells = CELLS["category" if isinstance(column, Codes) else "numeric"]
    return describe("prediction", column, cells, np.arange(len(predicted)))


def prediction_column(schema: Schema, predicted: Float[np.ndarray, "rows ..."]) -> Values | Codes:
    """What of the predictions is held against the reference.

    The value (regression), the probability of the second class (binary), the number of labels to be expected (multilabel),
    or the class.
    """
    if schema.task == "multiclass":
        return Codes(predicted.argmax(axis=1).astype(np.int32), schema.classes)
    if schema.task == "multilabel":
        return np.asarray(predicted.sum(axis=1), np.float64)
    return np.asarray(predicted if schema.task == "regression" else predicted[:, 1], np.float64)


def describe(
    name: str,
    column: Values | Codes,
    cells: Callable[[str, Values | Codes], Distribution],
    picked: Int64[np.ndarray, " picked"],
) -> Distribution:
    """Choose the cells and count all rows in them.

    Args:
        name: of the feature.
        column: all rows.
        cells: one of `CELLS`.
        picked: the rows to choose the cells on.
    """
    part = replace(column, codes=column.codes[picked]) if isinstance(column, Codes) else column[picked]
    made = cells(name, part if cells is not category_cells else column)
    if made.kind == "numeric":
        made = _with_range(made, column)  # type: ignore[arg-type]  # numbers
    found = tally(made, column)
    fine = made.fine
    if fine is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(found.fine > 0, found.sums / found.fine, 0.0)
        left = _left(means) if fine.ends_left else ()
        fine = replace(fine, rows=_single(found.fine.astype(np.float64)), means=_single(means), means_left=left)
    complete = made.kind != "category" or int(found.counts[-2]) == 0
    return replace(
        made,
        counts=tuple(found.counts.tolist()),
        fine=fine,
        terms=tuple(found.terms.tolist()),
        complete=complete,
    )


def numeric_cells(name: str, values: Values) -> Distribution:
    """Quantile bins, coarse and fine; heavy values have their own (`abi.scoring.edges.numeric_bins`)."""
    coarse, fine = (numeric_bins(values, size).edges[:-1] for size in (BINS, FINE))
    return Distribution(
        feature=name,
        kind="numeric",
        counts=(),
        edges=tuple(coarse.tolist()),
        fine=_fine_cells(fine, values),
    )


def _fine_cells(ends: Float[np.ndarray, " ends"], values: Values) -> Fine:
    """The cells with these ends, in more than single precision where that would move rows from one cell to another."""
    rounded = np.array(_single(ends))
    known = np.sort(values[~np.isnan(values)])
    moved = [np.searchsorted(known, one, side="right") for one in (ends, rounded)]
    if len(ends) and np.abs(moved[0] - moved[1]).max() > MOVED * len(known):
        return Fine(ends=tuple(rounded.tolist()), rows=(), means=(), ends_left=_left(ends))
    return Fine(ends=tuple(sorted(set(rounded.tolist()))), rows=(), means=())


def category_cells(name: str, column: Codes) -> Distribution:
    """The most frequent values; ties by value."""
    rows = np.bincount(column.codes + 1, minlength=len(column.values) + 1)[1:].tolist()
    seen = sorted(((-times, value) for value, times in zip(column.values, rows, strict=True) if times))
    return Distribution(feature=name, kind="category", counts=(), values=tuple(value for _, value in seen[:VALUES]))


def text_cells(name: str, column: Codes) -> Distribution:
    """Quantiles of the number of words, and the terms that most texts hold."""
    texts = [column.values[i] for i in column.codes[column.codes != MISSING_CODE][:TEXTS]]
    words = np.array([len(text.split()) for text in texts], dtype=np.float64)
    ends = numeric_bins(words[words > 0], BINS).edges[:-1]
    found, terms = count_terms(texts)
    there = np.asarray((found > 0).sum(axis=0)).ravel().tolist()
    ranked = sorted(Counter(dict(zip(terms, there, strict=True))).items(), key=lambda kv: (-kv[1], kv[0]))
    return Distribution(
        feature=name,
        kind="text",
        counts=(),
        edges=(0.0, *ends.tolist()),
        values=tuple(term for term, _ in ranked[:TERMS]),
    )


CELLS: Final[dict[str, Callable[[str, Values | Codes], Distribution]]] = {
    "numeric": numeric_cells,  # type: ignore[dict-item]  # the kind says which column it is
    "category": category_cells,  # type: ignore[dict-item]
    "text": text_cells,  # type: ignore[dict-item]
}


def _with_range(made: Distribution, values: Values) -> Distribution:
    """With the ends of the range: what lies outside them no training row had."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return replace(made, edges=())
    low, high = float(finite.min()), float(finite.max())
    inner = [edge for edge in made.edges if edge < high]
    return replace(made, edges=(low, *inner, high))


def _sample(row_numbers: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " picked"]:
    """At most `SAMPLE_ROWS` rows, those with the smallest hash, in their order."""
    if len(row_numbers) <= SAMPLE_ROWS:
        return np.arange(len(row_numbers))
    hashes = splitmix64(row_numbers, _SEED)
    return np.flatnonzero(hashes < np.partition(hashes, SAMPLE_ROWS)[SAMPLE_ROWS])


def _left(values: Float[np.ndarray, " values"]) -> tuple[float, ...]:
    """What single precision leaves, rounded up, so that no value is above its own end."""
    left = np.clip(values - np.array(_single(values)), -_LARGEST / 2, _LARGEST / 2)
    found = left.astype(np.float32)
    return _single(np.where(found < left, np.nextafter(found, np.float32(np.inf)), found))


def _single(values: Float[np.ndarray, " values"]) -> tuple[float, ...]:
    return tuple(np.clip(values, -_LARGEST, _LARGEST).astype(np.float32).astype(float).tolist())
