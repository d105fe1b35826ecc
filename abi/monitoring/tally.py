"""Rows counted in the cells of a reference. Counts add up, so any split of the rows gives the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

from abi.data.columns import Codes, Columns
from abi.data.twins import places_of
from abi.inputs.terms import count_terms
from abi.monitored import Distribution
from abi.problem import Feature

Values = Float64[np.ndarray, " rows"]
NONE: Final = np.empty(0, np.int64)


@dataclass(frozen=True)
class Tally:
    """Rows per cell; of numeric features also rows and sums of the finer cells, of texts rows per term."""

    counts: Int64[np.ndarray, " cells"]
    fine: Int64[np.ndarray, " fine"]
    sums: Float64[np.ndarray, " fine"]
    terms: Int64[np.ndarray, " terms"]

    @property
    def rows(self) -> int:
        """Rows that were counted."""
        return int(self.counts.sum())

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.counts + other.counts, self.fine + other.fine, self.sums + other.sums, self.terms + other.terms
        )


def tally(reference: Distribution, column: Values | Codes) -> Tally:
    """Count one feature's rows in the cells of `reference`."""
    return TALLIES[reference.kind](reference, column)


def columns_of(columns: Columns, features: Sequence[Feature]) -> list[Values | Codes]:
    """The column of each feature of the schema.

    Of what a pretrained encoder makes of pictures it is whether there is one: the encoder is not asked.
    """
    numeric, others = iter(columns.numeric.T), iter(columns.categorical)
    return [next(numeric) if f.kind == "numeric" else _told(f, next(others)) for f in features]


def _told(feature: Feature, codes: Codes) -> Codes:
    return Codes(np.minimum(codes.codes, 0), ("a picture",)) if feature.of_sight else codes


def tally_numeric(reference: Distribution, values: Values) -> Tally:
    """Bins, outside, missing; infinite values lie outside."""
    edges, missing = np.array(reference.edges), np.isnan(values)
    bins = max(0, len(edges) - 1)
    code = np.searchsorted(edges[1:], values) if bins else np.zeros(len(values), np.int64)
    outside = (code >= bins) | (values < edges[0]) if bins else ~missing
    code = np.where(missing, bins + 1, np.where(outside, bins, code))
    counts = np.bincount(code, minlength=bins + 2).astype(np.int64)
    if reference.fine is None:
        return Tally(counts, NONE, np.empty(0), NONE)
    size = len(reference.fine.ends) + 1
    known = values[~missing]
    fine = np.searchsorted(reference.fine.exact_ends, known)
    finite = np.where(np.isfinite(known), known, 0.0)
    rows = np.bincount(fine, minlength=size).astype(np.int64)
    sums = np.bincount(fine, finite, minlength=size).astype(np.float64)  # of no rows it is whole numbers
    return Tally(counts, rows, sums, NONE)


def tally_category(reference: Distribution, column: Codes) -> Tally:
    """Frequent values, others, missing."""
    place = {value: i for i, value in enumerate(reference.values)}
    other = len(place)
    cells = np.array([*places_of(column.values, place, other), other + 1])
    counts = np.bincount(cells[column.codes], minlength=other + 2).astype(np.int64)
    return Tally(counts, NONE, np.empty(0), NONE)


def tally_text(reference: Distribution, column: Codes) -> Tally:
    """Cells by the number of words, missing; rows with each term, and with none. Each distinct text is read once."""
    size = len(reference.edges) + 2
    rows = np.bincount(column.codes + 1, minlength=len(column.values) + 1)
    missing, rows = int(rows[0]), rows[1:]
    used = np.flatnonzero(rows)
    texts = [column.values[i] for i in used]
    words = np.array([len(text.split()) for text in texts], dtype=np.float64)
    counts = np.bincount(np.searchsorted(np.array(reference.edges), words), rows[used], minlength=size)
    counts[-1] = missing
    found, _ = count_terms(texts, reference.values)
    there = found > 0
    terms = there.T @ rows[used]
    without = rows[used][np.asarray(there.sum(axis=1)).ravel() == 0].sum()
    return Tally(counts.astype(np.int64), NONE, np.empty(0), np.append(terms, without).astype(np.int64))


TALLIES: Final[dict[str, Callable[[Distribution, Values | Codes], Tally]]] = {
    "numeric": tally_numeric,  # type: ignore[dict-item]  # the kind says which column it is
    "category": tally_category,  # type: ignore[dict-item]
    "text": tally_text,  # type: ignore[dict-item]
}
