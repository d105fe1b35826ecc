"""Which labels have arrived when a row is predicted, and what they tell: the only door to the past of the target.

The label of row r is known from row r + delay on. Row t may thus use those of rows up to t - delay, and no other;
rows without a label are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped


@dataclass(frozen=True)
class Arrivals:
    """The labels of a stream in order, and how many have arrived before each row.

    Attributes:
        rows: numbers of the rows that have a label.
        before: per row of the stream, how many of them have arrived when it is predicted.
    """

    rows: Int64[np.ndarray, " labelled"]
    before: Int64[np.ndarray, " rows"]

    @classmethod
    def of(cls, known: Bool[np.ndarray, " rows"], delay: int) -> Arrivals:
        """From which rows have a label at all."""
        rows = np.flatnonzero(known).astype(np.int64)
        before = np.searchsorted(rows, np.arange(len(known)) - delay, side="right").astype(np.int64)
        return cls(rows, before)

    def place(self, lag: int) -> Int64[np.ndarray, " rows"]:
        """Per row, the number of the row whose label arrived as the lag-th last; -1 where there is none yet."""
        index = self.before - lag
        if not len(self.rows):
            return np.full(len(self.before), -1, np.int64)
        return np.where(index >= 0, self.rows[np.maximum(index, 0)], -1)

    def until(self, row: int) -> int:
        """How many have arrived before `row` is predicted; all that have, past the end."""
        return int(self.before[row]) if row < len(self.before) else len(self.rows)

    def per_row(self, of_labels: Float64[np.ndarray, " labelled"]) -> Float64[np.ndarray, " rows"]:
        """A figure that is updated with each label, as it stands when each row is predicted; NaN before the first."""
        padded = np.concatenate([[np.nan], of_labels])
        return np.asarray(padded[self.before])


def run_length(labels: Shaped[np.ndarray, " labelled"]) -> Float64[np.ndarray, " labelled"]:
    """How many labels in a row have been the same, this one included."""
    if not len(labels):
        return np.zeros(0)
    numbers = np.arange(len(labels))
    changed = np.concatenate([[True], labels[1:] != labels[:-1]])
    started = np.maximum.accumulate(np.where(changed, numbers, 0))
    return (numbers - started + 1).astype(np.float64)


def majority(codes: Int64[np.ndarray, " labelled"], classes: int) -> Int64[np.ndarray, " labelled"]:
    """The most frequent class of the labels so far, each included; of several the first."""
    counts = np.zeros(classes, np.int64)
    best = np.empty(len(codes), np.int64)
    leader = 0
    for i, code in enumerate(codes):
        counts[code] += 1
        if counts[code] > counts[leader] or (counts[code] == counts[leader] and code < leader):
            leader = int(code)
        best[i] = leader
    return best
