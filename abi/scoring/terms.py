"""Scores of the terms of free text: what each tells about the target, from one pass of mergeable, sparse counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import xlogy

from abi.inputs.terms import count_terms, group_of, terms_in
from abi.problem import Schema
from abi.types import TermScores

if TYPE_CHECKING:
    from abi.config import ScoringConfig
    from abi.data.columns import Codes, Columns
    from abi.data.reader import Reader
    from abi.scoring.edges import Target

TERMS: Final = 2**16
"""Most terms of a text column, the most frequent ones of the sample."""
SHORT: Final = 400
"""Characters of a text on average, up to which pieces of words are terms too."""
LEAST_TEXTS: Final = 3
CELLS: Final = 2**24
"""Most cells of one column's counts; it lowers `TERMS` where there are many classes."""


@dataclass(frozen=True)
class TermCounts:
    """Rows of each class, and of these the rows that each term stands in, for one text column.

    Where rows have labels, the last class is all rows.
    """

    classes: Int64[np.ndarray, " classes"]
    table: Int64[np.ndarray, "terms classes"]


def empty(terms: int, classes: int) -> TermCounts:
    """Counts of no rows: the neutral element of `merge`."""
    return TermCounts(np.zeros(classes, np.int64), np.zeros((terms, classes), np.int64))


def merge(first: TermCounts, second: TermCounts) -> TermCounts:
    """Counts of both; associative and commutative."""
    return TermCounts(first.classes + second.classes, first.table + second.table)


def add(
    counts: TermCounts,
    column: Codes,
    classes: Int64[np.ndarray, " rows"] | Bool[np.ndarray, "rows labels"],
    vocabulary: Sequence[str],
) -> TermCounts:
    """With the rows of a chunk, and their classes or labels; each distinct text is read once."""
    size, several = len(counts.classes), classes.ndim > 1
    known = np.ones(len(classes), dtype=bool) if several else classes >= 0
    there = (column.codes >= 0) & known
    used, number = np.unique(column.codes[there], return_inverse=True)
    found, _ = count_terms([column.values[i] for i in used], vocabulary)
    if several:
        whole = np.column_stack([classes, known]).astype(np.int64)
        by_text = np.zeros((len(used), size), np.int64)
        np.add.at(by_text, number, whole[there])
        rows = whole.sum(axis=0)
    else:
        by_text = np.bincount(number * size + classes[there], minlength=len(used) * size).reshape(len(used), size)
        rows = np.bincount(classes[known], minlength=size)
    table = (found > 0).astype(np.int64).T @ by_text
    return TermCounts(counts.classes + rows, counts.table + np.asarray(table, dtype=np.int64))


def score_terms(reader: Reader, target: Target, chunk_rows: int, pieces: str = "off") -> tuple[TermScores, ...]:
    """Scores of the terms of every text column."""
    counted = count_texts(reader, target, chunk_rows, pieces)
    return tuple(score_text(name, *found, target) for name, found in counted.items())


def score_text(feature: str, vocabulary: Sequence[str], counts: TermCounts, target: Target) -> TermScores:
    """Scores of one text's terms, by the classes or the labels of the target."""
    return (from_counts if target.labels is None else from_label_counts)(feature, vocabulary, counts)


def count_texts(
    reader: Reader, target: Target, chunk_rows: int, pieces: str = "off"
) -> dict[str, tuple[tuple[str, ...], TermCounts]]:
    """Vocabulary and counts of every text column: the vocabulary from the sample, then one pass over the training rows.

    `pieces` of words are terms too where it is "on", or "auto" and texts have up to `SHORT` characters on average.
    """
    schema = reader.problem.schema
    columns = text_columns(schema)
    if not columns:
        return {}
    several = target.labels is not None
    size = len(schema.classes) + 1 if several else target.size
    most = min(TERMS, CELLS // size)
    reader = reader.of([f for f in schema.features if f.kind == "text"])
    columns = {name: place for place, name in enumerate(columns)}
    vocabularies = _vocabularies(reader, columns, chunk_rows, most, pieces)
    counts = {name: empty(len(vocabularies[name]), size) for name in columns}
    for chunk in reader.chunks("train", chunk_rows):
        assert chunk.target is not None
        classes = chunk.target if several else target.codes(chunk.target)
        for name, place in columns.items():
            counts[name] = add(counts[name], chunk.categorical[place], classes, vocabularies[name])
    return {name: (vocabularies[name], counts[name]) for name in columns}


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
    order = _by_frequency(vocabulary, times)
    there, times = there[order], times[order]
    information, squares = _information(there, counts.classes - there, counts.classes / rows, rows)
    seen = (there > 0).sum(axis=1)
    score = np.maximum(0.0, information - (seen - 1) / (2 * rows))
    error = np.sqrt(np.maximum(0.0, squares - information**2) / rows)
    return _scores(feature, [vocabulary[i] for i in order], rows, times, score, error)


def from_label_counts(feature: str, vocabulary: Sequence[str], counts: TermCounts) -> TermScores:
    """The same where rows have labels: sum over labels of the information about each, over the best term's.

    Divided by the sum of the labels' entropies it would be their mean relative information, weighed by entropy. A label
    that the term stands with costs one degree of freedom, 1 / 2n.
    """
    *labelled, whole = counts.classes.tolist()
    rows, times = max(1, whole), counts.table[:, -1].astype(np.float64)
    order = _by_frequency(vocabulary, times)
    times = times[order]
    score, variance = np.zeros(len(order)), np.zeros(len(order))
    for label, mine in enumerate(labelled):
        with_label = counts.table[order, label].astype(np.float64)
        there = np.column_stack([times - with_label, with_label])
        both = np.array([whole - mine, mine], dtype=np.float64)
        information, squares = _information(there, both - there, both / rows, rows)
        score += information - (with_label > 0) / (2 * rows)
        variance += np.maximum(0.0, squares - information**2)
    return _scores(feature, [vocabulary[i] for i in order], rows, times, np.maximum(0.0, score), np.sqrt(variance / rows))  # fmt: skip


def _by_frequency(vocabulary: Sequence[str], times: Float64[np.ndarray, " terms"]) -> list[int]:
    """Places of the terms that stand in some row, most frequent first."""
    order = sorted(range(len(vocabulary)), key=lambda i: (-times[i], vocabulary[i]))
    return [i for i in order if times[i] > 0]


def _information(
    there: Float64[np.ndarray, "terms classes"],
    gone: Float64[np.ndarray, "terms classes"],
    q: Float64[np.ndarray, " classes"],
    rows: int,
) -> tuple[Float64[np.ndarray, " terms"], Float64[np.ndarray, " terms"]]:
    """(mutual information of presence and class, mean square of its logarithm) of each term."""
    information, squares = np.zeros(len(there)), np.zeros(len(there))
    for cells in (there, gone):
        p = cells / rows
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.where(p > 0, np.log(p / np.maximum(p.sum(axis=1, keepdims=True) * q, 1e-300)), 0.0)
        information += xlogy(p, np.exp(log)).sum(axis=1)
        squares += (p * log**2).sum(axis=1)
    return information, squares


def _scores(
    feature: str,
    terms: Sequence[str],
    rows: int,
    times: Float64[np.ndarray, " terms"],
    score: Float64[np.ndarray, " terms"],
    error: Float64[np.ndarray, " terms"],
) -> TermScores:
    top = float(score.max(initial=0.0)) or 1.0
    return TermScores(
        feature=feature,
        texts=rows,
        terms=tuple(terms),
        rows=_single(times),
        scores=_single(score / top),
        errors=_single(error / top),
    )


def _single(values: Float64[np.ndarray, " terms"]) -> tuple[float, ...]:
    return tuple(values.astype(np.float32).astype(float).tolist())


def _vocabularies(
    reader: Reader, columns: dict[str, int], chunk_rows: int, most: int, pieces: str
) -> dict[str, tuple[str, ...]]:
    seen: dict[str, Counter[str]] = {name: Counter() for name in columns}
    cut: dict[str, bool] = {}
    for chunk in reader.sampled().chunks("train", chunk_rows):
        for name, place in columns.items():
            texts = _texts(chunk, place)
            if name not in cut:
                short = sum(map(len, texts)) <= SHORT * len(texts)
                cut[name] = pieces == "on" or (pieces == "auto" and short)
            for text in texts:
                seen[name].update(set(terms_in(text, cut[name])))
    return {name: _most_frequent(counter, most) for name, counter in seen.items()}


def _most_frequent(counter: Counter[str], most: int) -> tuple[str, ...]:
    """The most frequent terms; pieces of words stand in `LEAST_TEXTS` texts at least, and take half of the places at most."""
    ranked = sorted(counter.items(), key=lambda kv: (-kv[1], kv[0]))
    pieces = [term for term, times in ranked if group_of(term) == 1 and times >= LEAST_TEXTS][: most // 2]
    others = [term for term, _ in ranked if group_of(term) != 1]
    return (*others[: most - len(pieces)], *pieces)


def _texts(chunk: Columns, place: int) -> list[str]:
    column = chunk.categorical[place]
    return [column.values[i] for i in np.unique(column.codes[column.codes >= 0])]


def chunked(config: ScoringConfig) -> int:
    """Rows of text read at a time."""
    return min(config.chunk_rows, 16_384)
