"""A reader over arrays in memory, with the interface of the real one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from abi.data.columns import Codes, Columns
from abi.problem import DataFile, Feature, Problem, Schema, Snapshot, Split

FILE = DataFile(role="train", format="csv", md5="0" * 32, sha256="0" * 64, size_bytes=1, rows=1)


@dataclass(frozen=True)
class ArrayReader:
    """All rows are for training; `sampled` is the reader itself, unless other rows are given."""

    problem: Problem
    columns: Columns
    sample: Columns | None = None

    def chunks(self, role: str, chunk_rows: int = 65_536, part: range | None = None) -> Any:
        assert role == "train"
        numbers = self.columns.row_numbers
        part = range(2**62) if part is None else part
        inside = np.flatnonzero((numbers >= part.start) & (numbers < part.stop))
        for start in range(0, len(inside), chunk_rows):
            yield self.columns.take(inside[start : start + chunk_rows])

    def arrays(self, role: str, chunk_rows: int = 65_536, part: range | None = None) -> Any:
        return (chunk.arrays() for chunk in self.chunks(role, chunk_rows, part))

    def sampled(self) -> ArrayReader:
        return self if self.sample is None else ArrayReader(self.problem, self.sample)

    def picked(self, row_numbers: Any) -> Columns:
        columns = self.sampled().columns
        return columns.take(np.flatnonzero(np.isin(columns.row_numbers, row_numbers)))

    def of(self, features: Any) -> ArrayReader:
        mine, problem = self.problem.schema.features, self.problem
        problem = replace(problem, schema=replace(problem.schema, features=tuple(features)))
        numeric, others = ([f for f in mine if (f.kind == "numeric") == kind] for kind in (True, False))

        def fewer(columns: Columns) -> Columns:
            return replace(
                columns,
                numeric=columns.numeric[:, [numeric.index(f) for f in features if f.kind == "numeric"]],
                categorical=tuple(columns.categorical[others.index(f)] for f in features if f.kind != "numeric"),
            )

        return ArrayReader(problem, fewer(self.columns), None if self.sample is None else fewer(self.sample))


def encoded(values: Any) -> Codes:
    """Texts, None is missing."""
    known = sorted({v for v in values if v is not None})
    place = {v: i for i, v in enumerate(known)}
    return Codes(np.array([-1 if v is None else place[v] for v in values], dtype=np.int32), tuple(known))


def make_reader(features: dict[str, Any], target: Any, task: str = "binary", seed: int = 0) -> ArrayReader:
    """Lists of text (or None) are categorical, float arrays numeric."""
    numeric = {k: v for k, v in features.items() if isinstance(v, np.ndarray)}
    target = np.asarray(target, dtype=np.float64 if task == "regression" else np.int64)
    classes = () if task == "regression" else tuple(str(c) for c in range(max(2, int(target.max(initial=0)) + 1)))
    schema = Schema(
        target="y",
        task=task,
        classes=classes,
        set_aside=(),
        features=tuple(
            Feature(name=k, column=k, kind="numeric" if k in numeric else "categorical", distinct=2, missing_share=0.0)
            for k in features
        ),
    )
    problem = Problem(
        snapshot=Snapshot(files=(FILE,)), schema=schema, split=Split(seed=seed, validation=0.15, test=0.2)
    )
    matrix = np.column_stack(list(numeric.values())) if numeric else np.empty((len(target), 0))
    others = tuple(encoded(v) for k, v in features.items() if k not in numeric)
    return ArrayReader(problem, Columns(matrix.astype(np.float64), others, target, np.arange(len(target))))


@pytest.fixture(name="reader_of", scope="session")
def _reader_of() -> Any:
    return make_reader
