"""What the rarest classes lean on: each against all other rows, what features and terms tell of it.

The scores of all classes together hardly see a class of few rows. Relevance is the mutual information beyond chance over
the class's own entropy (`abi.scoring.relevance`), so that classes of any frequency stand on one scale.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from abi.frequency import ClassGroups, Lean
from abi.inputs.terms import count_terms
from abi.scoring.edges import category_bins, numeric_bins, places
from abi.scoring.relevance import relevance
from abi.scoring.terms import add, empty
from abi.scoring.types import Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abi.data.columns import Codes, Columns
    from abi.problem import Schema

CLASSES: Final = 12
"""Rarest classes that are looked at."""
FEATURES: Final = 3
TERMS: Final = 5
LEAST: Final = 0.01
"""Share of a class's entropy below which nothing is said."""
LEAST_TERM_ROWS: Final = 2
BINS: Final = 16
CELLS: Final = 2**20
"""Of features that are judged together."""


def leans(columns: Columns, schema: Schema, groups: ClassGroups) -> tuple[Lean, ...]:
    """The features and terms that tell most of each of the rarest classes, the rarest first.

    Args:
        columns: training rows.
        schema: features and classes.
        groups: the classes by frequency.
    """
    assert columns.target is not None
    rarest = sorted((i for i in groups.tail if groups.rows[i]), key=lambda i: (groups.rows[i], i))[:CLASSES]
    if not rarest:
        return ()
    marks = np.stack([columns.target == i for i in rarest], axis=1)
    told = np.zeros((len(rarest), len(schema.features)))
    terms: list[list[tuple[float, str]]] = [[] for _ in rarest]
    alike: dict[int, list[int]] = defaultdict(list)  # features by their number of bins
    tables: dict[int, Tables] = {}

    def judge(numbers: list[int]) -> None:
        found = relevance(np.concatenate([tables.pop(number) for number in numbers]))
        told[:, numbers] = found.reshape(len(numbers), -1).T
        numbers.clear()

    for number, (feature, place) in enumerate(zip(schema.features, places(schema), strict=True)):
        if feature.kind == "text":
            found = _terms(columns.categorical[place], marks)
            for known, best in zip(terms, found, strict=True):
                known.extend(best)
            told[:, number] = [max((worth for worth, _ in best), default=0.0) for best in found]
            continue
        if feature.kind == "numeric":
            codes = numeric_bins(columns.numeric[:, place], BINS).codes(columns.numeric[:, place])
        else:
            codes = _categories(columns.categorical[place])
        tables[number] = table = _counts(codes, marks)
        same = alike[table.shape[1]]
        same.append(number)
        if len(same) * table.size > CELLS:
            judge(same)
    for same in alike.values():
        if same:
            judge(same)
    return tuple(
        Lean(
            place=i,
            rows=groups.rows[i],
            features=tuple(
                (schema.features[f].name, round(float(told[n, f]), 6))
                for f in np.argsort(-told[n], kind="stable")[:FEATURES]
                if told[n, f] >= LEAST
            ),
            terms=tuple(term for _, term in sorted(terms[n], key=lambda wt: (-wt[0], wt[1]))[:TERMS]),
        )
        for n, i in enumerate(rarest)
    )


def _counts(codes: Int64[np.ndarray, " rows"], marks: Bool[np.ndarray, "rows rarest"]) -> Tables:
    """Rows per class, bin, and whether they are of the class."""
    bins = int(codes.max(initial=0)) + 1
    found = [np.bincount(2 * codes + mark, minlength=2 * bins) for mark in marks.T]
    return np.stack(found).reshape(len(found), bins, 2).astype(np.float64)


def _categories(column: Codes) -> Int64[np.ndarray, " rows"]:

    used = np.bincount(column.codes + 1, minlength=len(column.values) + 1)[1:]
    counts = Counter({value: int(n) for value, n in zip(column.values, used, strict=True) if n})
    return category_bins(counts, 1000).codes(column)


def _terms(column: Codes, marks: Bool[np.ndarray, "rows classes"]) -> list[list[tuple[float, str]]]:
    """(share of the class's entropy, term) of the terms that stand more often in the class than elsewhere, per class."""
    used = np.unique(column.codes[column.codes >= 0])
    vocabulary: Sequence[str] = count_terms([column.values[i] for i in used])[1]
    whole = add(empty(len(vocabulary), marks.shape[1] + 1), column, marks, vocabulary)
    rows, times = float(whole.classes[-1]), whole.table[:, -1]
    found = []
    for n in range(marks.shape[1]):
        mine, size = whole.table[:, n], float(whole.classes[n])
        share = size / rows
        likelier = np.flatnonzero((mine >= LEAST_TERM_ROWS) & (mine * rows > times * size))
        worth = presence_information(mine[likelier], times[likelier], size, rows) / class_entropy(share)
        best = [(float(w), vocabulary[int(i)]) for w, i in zip(worth, likelier, strict=True) if w >= LEAST]
        found.append(sorted(best, key=lambda wt: (-wt[0], wt[1]))[:TERMS])
    return found


def presence_information(
    both: Int64[np.ndarray, " terms"], times: Int64[np.ndarray, " terms"], size: float, rows: float
) -> Float64[np.ndarray, " terms"]:
    """Mutual information of a term's presence and a class, in nats, less its Miller-Madow bias."""
    cells = np.stack([both, times - both, size - both, rows - size - times + both]) / rows
    margins = np.stack([times * size, times * (rows - size), (rows - times) * size, (rows - times) * (rows - size)])
    logs = np.log(np.maximum(cells, 1e-300) * rows**2 / np.maximum(margins, 1e-300))
    return np.asarray(np.where(cells > 0, cells * logs, 0.0).sum(axis=0) - 1 / (2 * rows))


def class_entropy(share: float) -> float:
    """Entropy in nats of a class that has this share of the rows, against all others."""
    return float(-(share * np.log(share) + (1 - share) * np.log1p(-share)))
