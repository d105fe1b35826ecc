"""Scores of the terms of free text: what each tells about the target, from one pass of mergeable, sparse counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import xlogy

from abi.inputs.terms import count_terms
from abi.problem import Schema
from abi.types import TermScores

if TYPE_CHECKING:
    from abi.config import ScoringConfig
    from abi.data.columns import Codes, Columns
    from abi.data.reader import Reader
    from abi.scoring.edges import Target

TERMS: Final = 2**16
"""Most terms of a text column, the most frequent ones of the sample."""
CELLS: Final = 2**24
"""Most cells of one column's counts; it lowers `TERMS` where there are many classes."""


@dataclass(frozen=True)
class TermCounts:
    """Rows of each class, and of these the rows that each term stands in, for one text column."""

    classes: Int64[np.ndarray, " classes"]
    table: Int64[np.ndarray, "terms classes"]


def empty(terms: int, classes: int) -> TermCounts:
    """Counts of no rows: the neutral element of `merge`."""
    return TermCounts(np.zeros(classes, np.int64), np.zeros((terms, classes), np.int64))


def merge(first: TermCounts, second: TermCounts) -> TermCounts:
    """Counts of both; associative and commutative."""
    return TermCounts(first.classes + second.classes, first.table + second.table)


def add(
    counts: TermCounts, column: Codes, classes: Int64[np.ndarray, " rows"], vocabulary: Sequence[str]
) -> TermCounts:
    """With the rows of a chunk; each distinct text is read once."""
    size = len(counts.classes)
    there = (column.codes >= 0) & (classes >= 0)
    used, number = np.unique(column.codes[there], return_inverse=True)
    found, _ = count_terms([column.values[i] for i in used], vocabulary)
    by_text = np.bincount(number * size + classes[there], minlength=len(used) * size).reshape(len(used), size)
    table = (found > 0).astype(np.int64).T @ by_text
    rows = np.bincount(classes[classes >= 0], minlength=size)
    return TermCounts(counts.classes + rows, counts.table + np.asarray(table, dtype=np.int64))


def score_terms(reader: Reader, target: Target, chunk_rows: int) -> tuple[TermScores, ...]:
    """Scores of the terms of every text column: the vocabulary from the sample, then one pass over the training rows."""
    schema = reader.problem.schema
    columns = text_columns(schema)
    if not columns:
        return ()
    most = min(TERMS, CELLS // target.size)
    vocabularies = _vocabularies(reader, columns, chunk_rows, most)
    counts = {name: empty(len(vocabularies[name]), target.size) for name in columns}
    for chunk in reader.chunks("train", chunk_rows):
        assert chunk.target is not None
        classes = target.codes(chunk.target)
        for name, place in columns.items():
            counts[name] = add(counts[name], chunk.categorical[place], classes, vocabularies[name])
    return tuple(from_counts(name, vocabularies[name], counts[name]) for name in columns)


def text_columns(schema: Schema) -> dict[str, int]:
    """Text features and their place among the features that are not numeric."""
    others = [f for f in schema.features if f.kind != "numeric"]
    return {f.name: i for i, f in enumerate(others) if f.kind == "text"}


def from_counts(feature: str, vocabulary: Sequence[str], counts: TermCounts) -> TermScores:
    """Mutual information of a term's presence and the target, above what chance gives, over the best term's.

    I = sum p_ij ln(p_ij / p_i q_j) over presence i and class j, less its Miller-Madow bias (C - 1) / 2n with C the classes
    that the term stands in; its standard error is sqrt((sum p_ij ln^2(p_ij / p_i q_j) - I^2) / n) (Roulston 1999,
    "Estimating the errors on measured entropy and mutual information"). Terms come most frequent first.
    """
    rows = max(1, int(counts.classes.sum()))
    there = counts.table.astype(np.float64)
    times = there.sum(axis=1)
    order = sorted(range(len(vocabulary)), key=lambda i: (-times[i], vocabulary[i]))
    order = [i for i in order if times[i] > 0]
    there, times = there[order], times[order]
    gone = counts.classes - there
    q = counts.classes / rows
    information, squares = np.zeros(len(order)), np.zeros(len(order))
    for cells in (there, gone):
        p = cells / rows
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.where(p > 0, np.log(p / np.maximum(p.sum(axis=1, keepdims=True) * q, 1e-300)), 0.0)
        information += xlogy(p, np.exp(log)).sum(axis=1)
        squares += (p * log**2).sum(axis=1)
    seen = (there > 0).sum(axis=1)
    score = np.maximum(0.0, information - (seen - 1) / (2 * rows))
    error = np.sqrt(np.maximum(0.0, squares - information**2) / rows)
    top = float(score.max(initial=0.0)) or 1.0
    return TermScores(
        feature=feature,
        texts=rows,
        terms=tuple(vocabulary[i] for i in order),
        rows=_single(times),
        scores=_single(score / top),
        errors=_single(error / top),
    )


def _single(values: Float64[np.ndarray, " terms"]) -> tuple[float, ...]:
    return tuple(values.astype(np.float32).astype(float).tolist())


def _vocabularies(reader: Reader, columns: dict[str, int], chunk_rows: int, most: int) -> dict[str, tuple[str, ...]]:
    seen: dict[str, Counter[str]] = {name: Counter() for name in columns}
    for chunk in reader.sampled().chunks("train", chunk_rows):
        for name, place in columns.items():
            found, terms = count_terms(_texts(chunk, place))
            times = np.asarray((found > 0).sum(axis=0)).ravel()
            seen[name].update(dict(zip(terms, times.tolist(), strict=True)))
    return {
        name: tuple(term for term, _ in sorted(counter.items(), key=lambda kv: (-kv[1], kv[0]))[:most])
        for name, counter in seen.items()
    }


def _texts(chunk: Columns, place: int) -> list[str]:
    column = chunk.categorical[place]
    return [column.values[i] for i in np.unique(column.codes[column.codes >= 0])]


def chunked(config: ScoringConfig) -> int:
    """Rows of text read at a time."""
    return min(config.chunk_rows, 16_384)
