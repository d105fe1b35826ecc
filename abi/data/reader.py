"""The rows of each role, streamed or loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64, Int64

from abi.data.columns import (
    AnyTarget,
    Arrays,
    Codes,
    Columns,
    Vectors,
    columns_of,
    encode,
    encode_arrays,
    with_sight,
    with_vectors,
)
from abi.data.gather import Gathered
from abi.data.order import ROWS, times_of
from abi.data.split import ROLES, roles
from abi.data.table import ROW, Tabular
from abi.errors import DataError
from abi.media.grid import Pictures, blank, picture_rows
from abi.problem import Feature, Problem, Role

_ROWS = 65_536
Times = Float64[np.ndarray, " rows"]


@dataclass(frozen=True)
class Reader:
    """Reads what `problem` asks for from the canonical tables.

    Attributes:
        problem: schema and split.
        train: the table whose rows have roles.
        test: the user's test table; where there is one, role "test" is all of it and no row of `train`.
        from_sample: read the tables' samples only.
        vectors: turns texts and pictures into vectors, where a feature is of a pretrained encoder.
    """

    problem: Problem
    train: Tabular
    test: Tabular | None = None
    from_sample: bool = False
    vectors: Vectors | None = None

    def chunks(self, role: Role, chunk_rows: int = _ROWS, part: range | None = None) -> Iterator[Columns]:
        """The rows of `role` in file order, at most `chunk_rows` at a time, without those whose target is missing.

        Args:
            role: whose rows.
            chunk_rows: most rows of a chunk.
            part: only rows with these numbers (a shard of the table); all where None.

        Raises:
            DataError: the target holds a class that the training rows do not have.
        """
        for chunk in self._chunks(role, chunk_rows, part):
            yield replace(chunk, categorical=self._whole(chunk.categorical))

    def arrays(self, role: Role, chunk_rows: int = _ROWS, part: range | None = None) -> Iterator[Arrays]:
        """The same as `chunks` where each value is read once: no feature is copied beside the others."""
        for numbers, batch in self._batches(role, chunk_rows, part):
            chunk = encode_arrays(batch, self.problem.schema, numbers)
            if len(chunk):
                yield replace(chunk, categorical=self._whole(chunk.categorical))

    def load(self, role: Role) -> Columns:
        """All rows of `role`; the codes of a feature are the same throughout. Memory is about the size of the result.

        Raises:
            DataError: no row has that role, or as in `chunks`.
        """
        rows = sum(int(self._chosen(role, numbers, times).sum()) for numbers, times in self._numbers(role))
        kinds = [feature.kind for feature in self.problem.schema.features]
        schema = self.problem.schema
        numeric = np.empty((rows, kinds.count("numeric")), np.float64)
        others = [Gathered(rows) for kind in kinds if kind != "numeric"]
        target: AnyTarget = (
            np.empty((rows, len(schema.classes)), np.bool_)
            if schema.task == "multilabel"
            else np.empty(rows, np.float64 if schema.task == "regression" else np.int64)
        )
        row_numbers = np.empty(rows, np.int64)
        pictures = [blank(grid, rows) for grid in self.problem.schema.grids]
        end = 0
        for chunk in self._chunks(role):
            here = slice(end, end + len(chunk))
            assert chunk.target is not None
            numeric[here], target[here], row_numbers[here] = chunk.numeric, chunk.target, chunk.row_numbers
            # files are not held for all rows; texts are encoded together, those of about equal length at a time
            for gathered, part in zip(others, with_sight(chunk.categorical, schema, self.vectors), strict=True):
                gathered.add(here, part)
            for kept, read in zip(pictures, chunk.pictures, strict=True):
                kept.pixels[here], kept.there[here] = read.pixels, read.there
            end = here.stop
        if not end:
            msg = f"Expected rows for {role}, got none: give more rows, or set a larger share in data.validation or data.test."
            raise DataError(msg)
        return Columns(
            numeric[:end],
            self._whole(tuple(gathered.whole(end) for gathered in others)),
            target[:end],
            row_numbers[:end],
            tuple(Pictures(kept.pixels[:end], kept.there[:end]) for kept in pictures),
        )

    def picked(self, row_numbers: Int64[np.ndarray, " picked"]) -> Columns:
        """The rows of the training table's sample that have these numbers, in file order."""
        sample = self.train.sample(self._needed(), self._labels(self.train))
        found = np.isin(sample.column(ROW).to_numpy(), row_numbers)
        kept = sample.filter(pa.array(found)).combine_chunks()
        columns = encode(kept, self.problem.schema, kept.column(ROW).to_numpy())
        return replace(columns, categorical=self._whole(columns.categorical))

    def files(self, role: Role, feature: Feature) -> Iterator[tuple[str, bytes]]:
        """(value, file) of the pictures of a role that an encoder sees, those that cannot be read among them.

        Values are as in `Codes`; one that several chunks have comes more than once.
        """
        for chunk in self.of([feature])._chunks(role):
            (codes,) = chunk.categorical
            yield from zip(codes.values, codes.files, strict=True)

    def of(self, features: Sequence[Feature]) -> Reader:
        """The same for some of the features."""
        schema = self.problem.schema
        used = {feature.column for feature in features if feature.kind == "region"}
        grids = tuple(grid for grid in schema.grids if grid.column in used)
        return replace(
            self, problem=replace(self.problem, schema=replace(schema, features=tuple(features), grids=grids))
        )

    def sampled(self) -> Reader:
        """The same over the tables' samples only; a row keeps its number and so its role."""
        return replace(self, from_sample=True)

    def _whole(self, categorical: tuple[Codes, ...]) -> tuple[Codes, ...]:
        return with_vectors(categorical, self.problem.schema, self.vectors)

    def _chunks(self, role: Role, chunk_rows: int = _ROWS, part: range | None = None) -> Iterator[Columns]:
        """As `chunks`, without vectors."""
        for numbers, batch in self._batches(role, chunk_rows, part):
            chunk = encode(batch, self.problem.schema, numbers)
            if len(chunk):
                yield chunk

    def _table(self, role: Role) -> Tabular:
        return self.test if role == "test" and self.test is not None else self.train

    def _chosen(
        self, role: Role, numbers: Int64[np.ndarray, " rows"], times: Times | None
    ) -> Bool[np.ndarray, " rows"]:
        if role == "test" and self.test is not None:
            return np.ones(len(numbers), bool)
        found = roles(numbers, self.problem.split, times)
        if role == "taught":
            return np.isin(found, [ROLES.index("train"), ROLES.index("validation")])
        chosen: Bool[np.ndarray, " rows"] = found == ROLES.index(role)
        return chosen

    def _numbers(self, role: Role) -> Iterator[tuple[Int64[np.ndarray, " rows"], Times | None]]:
        """(numbers, times) of all rows of the role's table."""
        table, ordering = self._table(role), self._ordering(role)
        if self.from_sample:
            sample = table.sample(ordering)
            yield sample.column(ROW).to_numpy(), self._times(sample, ordering)
        elif ordering:
            for first, batch in table.batches(ordering):
                yield np.arange(first, first + batch.num_rows, dtype=np.int64), self._times(batch, ordering)
        else:
            for first in range(0, table.rows, _ROWS):
                yield np.arange(first, min(first + _ROWS, table.rows), dtype=np.int64), None

    def _ordering(self, role: Role) -> list[str]:
        """The column whose values give rows their role, where there is one."""
        order = self.problem.split.order
        whole = role == "test" and self.test is not None
        return [order] if order not in ("", ROWS) and not whole else []

    @staticmethod
    def _times(rows: pa.RecordBatch | pa.Table, ordering: Sequence[str]) -> Times | None:
        return times_of(rows.column(ordering[0])) if ordering else None

    def _needed(self) -> list[str]:
        schema = self.problem.schema
        return [*columns_of(schema.features), schema.target]

    def _labels(self, table: Tabular) -> list[str]:
        """The columns of text among what is needed."""
        texts = {column.name for column in table.profile.columns if column.type == "string"}
        return [name for name in self._needed() if name in texts]

    def _batches(
        self, role: Role, chunk_rows: int, part: range | None
    ) -> Iterator[tuple[Int64[np.ndarray, " rows"], pa.RecordBatch]]:
        """(numbers, rows) of `role`; none is empty."""
        ordering = self._ordering(role)
        for numbers, batch in self._all_batches(role, chunk_rows, part):
            mine = self._chosen(role, numbers, self._times(batch, ordering))
            if mine.any():
                yield numbers[mine], batch if mine.all() else batch.filter(pa.array(mine))

    def _all_batches(
        self, role: Role, chunk_rows: int, part: range | None
    ) -> Iterator[tuple[Int64[np.ndarray, " rows"], pa.RecordBatch]]:
        table, needed = self._table(role), list(dict.fromkeys([*self._needed(), *self._ordering(role)]))
        chunk_rows = min(chunk_rows, picture_rows(self.problem.schema))
        if self.from_sample:
            sample = table.sample(needed, self._labels(table))
            if part is not None:
                inside = pc.and_(pc.greater_equal(sample[ROW], part.start), pc.less(sample[ROW], part.stop))
                sample = sample.filter(inside)
            for batch in sample.to_batches(chunk_rows):
                yield batch.column(ROW).to_numpy(), batch
            return
        for first, batch in table.batches(needed, chunk_rows, part, self._labels(table)):
            yield np.arange(first, first + batch.num_rows, dtype=np.int64), batch
