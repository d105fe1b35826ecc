"""A stream as the loop sees it: its table with the derived columns, its labels, and which of them have arrived when."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64, Int64, Shaped

from abi.adapting.derived import Target, derived
from abi.adapting.labels import Arrivals
from abi.data import text as spelled
from abi.data.columns import Columns, encode
from abi.data.infer import expect_name, infer_schema
from abi.data.memory import hash_table, hold
from abi.data.order import ROWS, checked_times, expect_order, falls
from abi.data.reader import Reader
from abi.data.target import target_of
from abi.errors import DataError, clip
from abi.problem import DataFile, Feature, Problem, Schema, Snapshot, Split
from abi.scoring.score import score

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.table import Tabular

LEAST_ROWS: Final = 50
"""Rows with a label that the warm-up has at least."""
AFTER: Final = 10
"""Rows that are left to be scored at least."""


@dataclass(frozen=True)
class Stream:
    """All rows, in order.

    Attributes:
        table: the columns that features are made of, raw and derived, without the target.
        target: name of the target.
        labels: as text (None where there is none), or numbers (NaN).
        classes: the distinct labels in the order in which they appear (none in regression).
        codes: the label's place in `classes`, -1 where there is none; the numbers themselves in regression.
        arrivals: when they arrive.
        numeric: whether it is a regression.
        warmup: rows before the first that is scored, where no champion predicts them.
        kinds: of the derived columns.
        names: of the derived columns, by what they tell (`abi.adapting.derived`).
        changing: the numeric features whose changes are derived.
        told: the classes that shares are made of.
    """

    table: pa.Table
    target: str
    labels: Shaped[np.ndarray, " rows"]
    classes: tuple[str, ...]
    codes: Shaped[np.ndarray, " rows"]
    arrivals: Arrivals
    numeric: bool
    warmup: int
    kinds: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    changing: tuple[Feature, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def known(self, row: int) -> bool:
        """Whether it has a label."""
        return not np.isnan(self.codes[row]) if self.numeric else bool(self.codes[row] >= 0)

    def latest(self, row: int, most: int) -> Int64[np.ndarray, " latest"]:
        """The last `most` labelled rows whose labels have arrived before `row` is predicted."""
        until = self.arrivals.until(row)
        return self.arrivals.rows[max(0, until - most) : until]

    def places(self, schema: Schema) -> tuple[int, ...]:
        """Where the schema's classes stand in `classes`; one that no row has stands past their end."""
        place = {name: i for i, name in enumerate(self.classes)}
        return tuple(place.get(name, len(self.classes)) for name in schema.classes)

    @functools.cached_property
    def last(self) -> Shaped[np.ndarray, " rows"]:
        """Per row, the label that arrived last, as `codes` has it; -1 or NaN where there is none yet."""
        place = self.arrivals.place(1)
        none = np.nan if self.numeric else -1
        return np.where(place >= 0, self.codes[np.maximum(place, 0)], none)

    def classes_until(self, row: int) -> Int64[np.ndarray, " seen"]:
        """Places of the classes of which a label has arrived before `row` is predicted."""
        codes, first = self._first_arrivals
        return codes[first < self.arrivals.until(row)]

    @functools.cached_property
    def _first_arrivals(self) -> tuple[Int64[np.ndarray, " seen"], Int64[np.ndarray, " seen"]]:
        codes, first = np.unique(self.codes[self.arrivals.rows], return_index=True)
        return codes, first.astype(np.int64)

    def reader(
        self,
        rows: Int64[np.ndarray, " chosen"],
        schema: Schema,
        seed: int,
        labels: Shaped[np.ndarray, " _"] | None = None,
    ) -> Reader:
        """These rows as a problem of their own, all of them to learn from: what is scored.

        Args:
            rows: the rows.
            schema: what is learned.
            seed: of the draws behind the null.
            labels: of all rows, in place of the stream's own.
        """
        table = hold(self.taken(rows, schema.target, labels))
        return Reader(_problem(table, schema, seed), table)

    def taken(
        self,
        rows: Int64[np.ndarray, " chosen"],
        name: str | None = None,
        labels: Shaped[np.ndarray, " _"] | None = None,
    ) -> pa.Table:
        """These rows with their labels, or others."""
        values = (self.labels if labels is None else labels)[rows]
        column = pa.array(values, pa.float64() if self.numeric else pa.string(), from_pandas=True)
        return self.table.take(pa.array(rows)).append_column(name or self.target, column)


def open_stream(table: Tabular, target: str, config: Config) -> tuple[Stream, Schema]:
    """The stream with its derived columns, and what the rows of its warm-up say is to be learned.

    Raises:
        DataError: it is too short, or its warm-up has too few labels, or one class only.
        UsageError: there is no such column.
    """
    first = whole(table)
    asked, rows = config.adapt, table.rows
    warmup = round(asked.warmup * rows) if asked.warmup < 1 else int(asked.warmup)
    expect_name(table, target, "target column")
    labelled = int(pc.sum(pc.is_valid(first[target].slice(0, warmup))).as_py() or 0)
    if labelled < LEAST_ROWS or rows - warmup < AFTER:
        msg = f"Expected a stream with at least {LEAST_ROWS} labelled rows in its warm-up and {AFTER} rows after it, got {labelled} and {max(0, rows - warmup)} of {rows}: give more rows, or set adapt.warmup."
        raise DataError(msg)
    # whether it is a number or a class is a fact of the whole column, not of its first rows
    numeric = target_of(table, target, config.data).task == "regression"
    labels = labels_of(first[target], numeric=numeric)
    classes, codes = ((), labels) if numeric else _numbered(labels)
    arrivals = Arrivals.of(~np.isnan(labels) if numeric else codes >= 0, asked.label_delay)
    raw = Stream(first.drop_columns([target]), target, labels, classes, codes, arrivals, numeric, warmup)
    learned = raw.latest(warmup, warmup)
    _expect_two(raw, learned)
    schema = infer(raw, learned, config)
    numbers = _changing(raw, schema, config)
    made = derived(Target(target, labels, arrivals, numeric), numbers, schema.classes, asked)
    changing = tuple(f for f in schema.features if f.name in numbers)
    stream = replace(_with(raw, made), changing=changing, told=schema.classes)
    return stream, infer(stream, learned, config)


def _expect_two(stream: Stream, rows: Int64[np.ndarray, " chosen"]) -> None:
    """See that there is something to tell apart in these rows, those of the warm-up.

    Raises:
        DataError: all their labels are alike.
    """
    if len(np.unique(stream.codes[rows])) < 2 <= len(np.unique(stream.codes[stream.arrivals.rows])):  # noqa: PLR2004
        msg = f"Expected at least two values in the target {clip(stream.target)!r} among the {len(rows)} labelled rows of the warm-up, got one: raise adapt.warmup."
        raise DataError(msg)


def expect_scored(stream: Stream, begin: int) -> None:
    """See that there are labels to score by.

    Raises:
        DataError: of the rows from `begin` on too few have one.
    """
    codes = stream.codes[begin:]
    scored = int((~np.isnan(codes) if stream.numeric else codes >= 0).sum())
    if scored < AFTER:
        msg = f"Expected at least {AFTER} rows with a label from row {begin + 1} on, by which predictions are scored, got {scored}: give more labelled rows, or lower adapt.warmup."
        raise DataError(msg)


def infer(stream: Stream, rows: Int64[np.ndarray, " chosen"], config: Config, before: Schema | None = None) -> Schema:
    """What these rows say is to be learned; classes that were known `before` stay, in their places.

    Where they say nothing (one class only), what was known stays.

    Raises:
        DataError: they say nothing, and nothing was known.
    """
    # of two values there may be more by now; a sequence is read of a text
    kept = (
        ()
        if before is None
        else (f for f in before.features if f.part is None and f.kind not in ("boolean", "sequence"))
    )
    kinds = {**stream.kinds, **{f.column: f.kind for f in kept}, **config.data.columns}
    task = "regression" if stream.numeric else "multiclass"
    data = config.data.model_copy(update={"columns": kinds, "task": task})
    try:
        schema = infer_schema(hold(stream.taken(rows)), stream.target, data)
    except DataError:
        if before is None:
            raise
        return before
    if stream.numeric:
        return schema
    known = () if before is None else before.classes
    classes = (*known, *(name for name in schema.classes if name not in known))
    return replace(schema, classes=classes, task="binary" if len(classes) == 2 else "multiclass")  # noqa: PLR2004


def whole(table: Tabular) -> pa.Table:
    """All rows in memory."""
    batches = [batch for _, batch in table.batches()]
    return pa.Table.from_batches(batches) if batches else pa.table({name: pa.array([]) for name in table.names})


def in_order(table: Tabular, config: Config) -> tuple[pa.Table, Int64[np.ndarray, " rows"], bool]:
    """All rows in memory, by the column of times that the settings name; where each stood, and whether any went backwards.

    Rows without a time are left out, as in training; without such a column the file's order is the stream's.

    Raises:
        UsageError: there is no such column, or it has no times.
        DataError: more rows have no time than `checks.no_time` allows.
    """
    rows, order = whole(table), config.data.ordering
    every = np.arange(table.rows, dtype=np.int64)
    if order is None or order == ROWS:
        return rows, every, False
    expect_order(order, config, table)
    times = checked_times(table, order, config.checks.no_time)
    there = np.flatnonzero(~np.isnan(times))
    numbers = there[np.argsort(times[there], kind="stable")]
    if np.array_equal(numbers, every):
        return rows, every, False
    return rows.take(pa.array(numbers)), numbers, bool(falls(times[there]).any())


def labels_of(column: pa.ChunkedArray, *, numeric: bool) -> Shaped[np.ndarray, " rows"]:
    """Text as the schema spells classes, or numbers.

    Raises:
        DataError: an infinite number.
    """
    array = column.combine_chunks()
    array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
    if numeric:
        values = np.asarray(spelled.numbers(array).to_numpy(zero_copy_only=False), np.float64)
        if np.isinf(values).any():
            msg = f"Expected finite values in the target, got an infinite one in row {int(np.flatnonzero(np.isinf(values))[0]) + 1}: mend or remove it."
            raise DataError(msg)
        return values
    encoded = spelled.labels(array)
    names = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    return np.asarray(names[np.asarray(encoded.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False))])


def places_in(stream: Stream, schema: Schema) -> Shaped[np.ndarray, " rows"]:
    """Labels as the models take them: class numbers of the schema, -1 where there is none or the class is new; or numbers."""
    if stream.numeric:
        return stream.codes
    lookup = np.full(len(stream.classes) + 2, -1, np.int64)  # the last one is for -1
    for i, place in enumerate(stream.places(schema)):
        if place < len(stream.classes):
            lookup[place] = i
    return np.asarray(lookup[stream.codes])


def _numbered(labels: Shaped[np.ndarray, " rows"]) -> tuple[tuple[str, ...], Int64[np.ndarray, " rows"]]:
    """(the labels in the order in which they appear, each row's place among them)."""
    place: dict[str, int] = {}
    codes = np.array([-1 if label is None else place.setdefault(label, len(place)) for label in labels], np.int64)
    return tuple(place), codes


def encoded(stream: Stream, schema: Schema) -> Columns:
    """All rows as arrays, without their labels."""
    return encode(stream.table, schema, with_target=False)


def with_target(columns: Columns, target: Shaped[np.ndarray, " all_rows"], rows: Int64[np.ndarray, " _"]) -> Columns:
    """Rows to learn from."""
    return replace(columns.take(rows), target=target[rows])


def _problem(table: Tabular, schema: Schema, seed: int) -> Problem:
    sha256, md5, size_bytes = hash_table(table)  # type: ignore[arg-type]  # of `hold`
    file = DataFile(role="train", format="memory", md5=md5, sha256=sha256, size_bytes=size_bytes, rows=table.rows)
    return Problem(snapshot=Snapshot(files=(file,)), schema=schema, split=Split(seed=seed, validation=0.0, test=0.0))


def _changing(raw: Stream, schema: Schema, config: Config) -> dict[str, Float64[np.ndarray, " rows"]]:
    """The numeric columns whose changes are made: where there are many, those with the best scores in the warm-up."""
    numeric = [f for f in schema.features if f.kind == "numeric" and f.part is None]
    most = config.adapt.changes
    if len(numeric) > most:
        scores = score(raw.reader(raw.latest(raw.warmup, raw.warmup), schema, config.seed), config.scoring)
        rank = {f.feature: -f.score for f in scores.features}
        numeric = sorted(numeric, key=lambda f: rank[f.name])[:most]
    columns = encode(raw.table, replace(schema, features=tuple(numeric)), with_target=False)
    return {f.name: columns.numeric[:, i] for i, f in enumerate(numeric)}


def _with(raw: Stream, columns: dict[str, pa.Array]) -> Stream:
    """Beside the stream's own columns; a name that is taken gets a dash more."""
    table, kinds, names = raw.table, dict[str, str](), dict[str, str]()
    for name, values in columns.items():
        free = name
        while free in {*table.column_names, raw.target}:
            free += "_"
        names[name] = free
        kinds[free] = "categorical" if pa.types.is_string(values.type) else "numeric"
        table = table.append_column(free, values)
    return replace(raw, table=table, kinds=kinds, names=names)
