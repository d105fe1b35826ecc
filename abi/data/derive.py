"""Columns that are derived from earlier rows: asked for in the settings, kept in the schema, made of any table in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float64, Int8

from abi.data.behaviour import ask_behaviour, behaviour_columns, history_of
from abi.data.columns import encode_target, from_series
from abi.data.history import History, kept
from abi.data.order import ROWS, table_roles, times_of
from abi.data.reader import Reader
from abi.data.series import sequence, series_columns
from abi.data.split import ROLES
from abi.data.table import ROW, ColumnProfile, Profile, Tabular
from abi.data.text import labels, numbers
from abi.errors import DataError, UsageError, clip, lacking_columns, listed
from abi.problem import Derivation, Problem, Schema, Series, Split

if TYPE_CHECKING:
    from abi.data.memory import MemoryTable
    from abi.reading import DataConfig

BATCH_ROWS = 65_536
TEST = ROLES.index("test")
"""Code of the role of rows that nothing was learned from, as new ones are."""
MOST_UNREAD = 0.01
"""Share of new rows that may have something else where a time is expected; no more is known of them than of rows without one."""


@dataclass(frozen=True)
class DerivedTable:
    """A table with derived columns behind its own; these are held in memory, eight bytes a value."""

    base: Tabular
    derived: MemoryTable

    @property
    def profile(self) -> Profile:
        """What its columns hold."""
        return replace(self.base.profile, columns=(*self.base.profile.columns, *self.derived.profile.columns))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.base.rows

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, the derived ones last."""
        return (*self.base.names, *self.derived.names)

    def column(self, name: str) -> ColumnProfile:
        """The profile of one column."""
        return (self.derived if name in self.derived.names else self.base).column(name)

    def batches(
        self,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
        part: range | None = None,
        encoded: Sequence[str] = (),
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(first row number, batch) over all rows, or over those numbered in `part`, in order."""
        names = list(self.names if columns is None else columns)
        made = set(self.derived.names)
        own = [name for name in names if name not in made]
        asked = [name for name in encoded if name not in made]
        for first, batch in self.base.batches(own or self.base.names[:1], batch_rows, part, asked):
            beside = self.derived.data.slice(first, batch.num_rows).combine_chunks()
            yield (
                first,
                pa.RecordBatch.from_arrays([_whole(beside[n]) if n in made else batch[n] for n in names], names),
            )

    def sample(self, columns: Sequence[str] | None = None, encoded: Sequence[str] = ()) -> pa.Table:
        """The base table's sample, with the derived values of the same rows."""
        names = list(self.names if columns is None else columns)
        made = set(self.derived.names)
        asked = [name for name in encoded if name not in made]
        rows = self.base.sample([name for name in names if name not in made], asked)
        beside = self.derived.data.select([name for name in names if name in made]).take(rows.column(ROW))
        return pa.table([beside[n] if n in made else rows[n] for n in [*names, ROW]], names=[*names, ROW])


def ask_derivation(config: DataConfig, table: Tabular, target: str, schema: Schema) -> Derivation | None:
    """What the settings ask to be derived; `schema` is that of the table as it is.

    Raises:
        UsageError: a column is not there or of no use, there is no order, or a derived column would have another's name.
    """
    series, behaviour = _ask_series(config, table, schema), ask_behaviour(config, table, target, schema)
    if series is None and behaviour is None:
        return None
    assert config.ordering is not None
    derivation = Derivation(order=config.ordering, series=series, behaviour=behaviour)
    taken = [name for name in derived_names(derivation, target) if name in set(table.names)]
    if taken:
        msg = f"Expected no column named as one that is derived, got {listed(taken)}: rename it."
        raise UsageError(msg)
    return derivation


def _ask_series(config: DataConfig, table: Tabular, schema: Schema) -> Series | None:
    asked = config.series
    if asked is None:
        return None
    if config.ordering is None:
        msg = "Expected data.order beside data.series, got none: name the column of times, or set it to rows for the file's order."
        raise UsageError(msg)
    if asked.channels == "all":
        left_out = {config.ordering, asked.group}
        channels = [
            f.column for f in schema.features if f.kind == "numeric" and f.part is None and f.column not in left_out
        ]
    else:
        channels = list(dict.fromkeys(asked.channels))
    numbers = {f.column for f in schema.features if f.kind != "text"}
    wrong = [name for name in channels if name not in numbers or table.column(name).type in ("string", "timestamp")]
    if wrong or not channels:
        msg = f"Expected numeric columns in data.series.channels, got {listed(wrong) if wrong else 'none'}: name columns of numbers, or set their kinds in data.columns."
        raise UsageError(msg)
    if asked.group is not None and asked.group not in table.names:
        msg = f"Expected data.series.group as a column of the table, got {clip(asked.group)!r}: it has {listed(table.names)}."
        raise UsageError(msg)
    return Series(
        channels=tuple(channels),
        lags=asked.lags,
        windows=asked.windows,
        statistics=asked.statistics,
        differences=asked.differences,
        group=asked.group or "",
        target_lags=asked.target_lags,
    )


def kinds_of(derivation: Derivation, config: DataConfig) -> dict[str, str]:
    """Kinds of columns where something is derived: what is derived is numeric, ids are categories, sets are their values."""
    series, behaviour = derivation.series, derivation.behaviour
    ids = config.roles is None or config.roles.ids
    kinds: dict[str, str] = {}
    if series is not None:
        kinds |= {name: "numeric" for channel in series.channels for name in series.columns(channel)}
    if behaviour is not None:
        kinds |= dict.fromkeys(behaviour.columns(), "numeric") | dict.fromkeys(
            (one.column for one in behaviour.sets), "ignore"
        )
        own = "categorical" if ids else "ignore"
        kinds |= {behaviour.user: own, behaviour.item: own}
    return {**kinds, **config.columns}


def target_columns(series: Series, target: str) -> tuple[str, ...]:
    """Names of earlier values of the target."""
    return tuple(f"{target}@lag{lag}" for lag in series.target_lags)


def derived_names(derivation: Derivation, target: str) -> tuple[str, ...]:
    """Every column that it makes."""
    series, behaviour = derivation.series, derivation.behaviour
    names: list[str] = []
    if series is not None:
        names += [name for channel in series.channels for name in series.columns(channel)]
        names += target_columns(series, target)
    return (*names, *(behaviour.columns() if behaviour is not None else ()))


def source_columns(derivation: Derivation) -> tuple[str, ...]:
    """The columns that new rows must have for it. The order's column and the target may lack."""
    series, behaviour = derivation.series, derivation.behaviour
    names: list[str] = []
    if series is not None:
        names += [*series.channels, *([series.group] if series.group else [])]
    if behaviour is not None:
        names += [behaviour.user, behaviour.item, *(one.column for one in behaviour.sets)]
        names += [behaviour.titles] if behaviour.titles else []
    return tuple(dict.fromkeys(names))


def raw_columns(schema: Schema) -> tuple[str, ...]:
    """The columns that rows must have for the model: those of features as they are, and those that others are derived from."""
    columns = [feature.column for feature in schema.features]
    if schema.derivation is not None:
        made = set(derived_names(schema.derivation, schema.target))
        columns = [name for name in columns if name not in made]
        columns += source_columns(schema.derivation)
    return tuple(dict.fromkeys(columns))


def derive_tables(
    derivation: Derivation,
    schema: Schema,
    split: Split,
    train: Tabular,
    test: Tabular | None = None,
    history: History | None = None,
) -> tuple[DerivedTable, DerivedTable | None]:
    """Both tables with their derived columns; the test table goes on where the training table ended, by order or time.

    The rows of both are put in order together, so that the first rows of a test file look back at the last of the training
    file. Takes a sort and a few passes over the rows.

    Args:
        derivation: what is derived.
        schema: the target, its task and classes.
        split: which rows are for what.
        train: the table whose rows have roles.
        test: the user's test table.
        history: of users and items: every row knows that alone; where None, the rows before it.
    """
    from abi.data.memory import hold  # noqa: PLC0415 - it reads tables through here

    tables = [train] if test is None else [train, test]
    columns, count = _read(derivation, schema.target, tables), sum(table.rows for table in tables)
    parts = np.full(count, TEST, np.int8)
    parts[: train.rows] = table_roles(split, train.rows, lambda name: times_of(columns[name])[: train.rows])
    made = pa.table(_derive(derivation, schema, columns, count, parts, history))
    first = DerivedTable(train, hold(made.slice(0, train.rows)))
    return first, None if test is None else DerivedTable(test, hold(made.slice(train.rows)))


def stored(table: Tabular) -> Tabular:
    """The table without what was derived from it."""
    return table.base if isinstance(table, DerivedTable) else table


def open_problem(problem: Problem, train: Tabular, test: Tabular | None, history: History | None = None) -> Reader:
    """A reader of the problem's rows, from the tables as they are stored; `history` as in `derive_tables`."""
    derivation = problem.schema.derivation
    if derivation is None:
        return Reader(problem, train, test)
    history = history if derivation.behaviour is not None else None
    return Reader(problem, *derive_tables(derivation, problem.schema, problem.split, train, test, history))


def final_history(problem: Problem, train: Tabular) -> History | None:
    """What is known of users and items after all rows that are not held out for the test: what a model takes along."""
    derivation = problem.schema.derivation
    if derivation is None or derivation.behaviour is None:
        return None
    columns = _read(derivation, problem.schema.target, [train])
    parts = table_roles(problem.split, train.rows, lambda name: times_of(columns[name]))
    known = history_of(derivation, columns, _target(columns, problem.schema, train.rows), np.isin(parts, (0, 1)))
    return None if known is None else kept(known)


def derive_new(schema: Schema, table: Tabular, history: History | None = None) -> Tabular:
    """A table of new rows with the derived columns that the model reads.

    Raises:
        DataError: a column that they are derived from is lacking, or the history.
    """
    if schema.derivation is None:
        return table
    _expect_history(schema.derivation, history)
    everything = Split(seed=0, validation=0.0, test=1.0)
    return derive_tables(schema.derivation, schema, everything, table, None, history)[0]


def derive_rows(
    schema: Schema, rows: pd.DataFrame | pa.Table, history: History | None = None
) -> pd.DataFrame | pa.Table:
    """New rows, in order, with the derived columns that the model reads; rows that have them already stay as they are.

    Raises:
        DataError: a column that they are derived from is lacking, or the history.
    """
    derivation = schema.derivation
    if derivation is None:
        return rows
    names = [*map(str, rows.columns)] if isinstance(rows, pd.DataFrame) else list(rows.column_names)
    if set(derived_names(derivation, schema.target)) <= set(names):
        return rows
    _expect_history(derivation, history)
    needed = source_columns(derivation)
    _expect(needed, names)
    wanted = [name for name in dict.fromkeys([*needed, derivation.order, schema.target]) if name in names]
    columns = {
        name: from_series(rows[name]) if isinstance(rows, pd.DataFrame) else _whole(rows[name]) for name in wanted
    }
    made = _derive(derivation, schema, columns, len(rows), np.full(len(rows), TEST, np.int8), history)
    if isinstance(rows, pd.DataFrame):
        beside = pd.DataFrame({name: values.to_pandas().to_numpy() for name, values in made.items()}, index=rows.index)
        return pd.concat([rows, beside], axis=1)
    for name, values in made.items():
        rows = rows.append_column(name, values)
    return rows


def _expect_history(derivation: Derivation, history: History | None) -> None:
    if derivation.behaviour is not None and history is None:
        msg = "Expected the history of users and items that is stored beside the model, got none: predict with the registered model."
        raise DataError(msg)


def _expect(needed: Sequence[str], names: Sequence[str]) -> None:
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise lacking_columns(lacking)


def _derive(
    derivation: Derivation,
    schema: Schema,
    columns: dict[str, pa.Array],
    rows: int,
    parts: Int8[np.ndarray, " rows"],
    history: History | None,
) -> dict[str, pa.Array]:
    made: dict[str, pa.Array] = {}
    if history is not None or (parts == TEST).all():
        _expect_times(columns, derivation.order)
    if derivation.series is not None:
        made |= series_columns(derivation.series, columns, schema.target, sequence(columns, derivation, rows))
    if derivation.behaviour is not None:
        # of new rows the target is not looked at, even where they have one
        target = np.full(rows, np.nan) if history is not None else _target(columns, schema, rows)
        made |= behaviour_columns(derivation, columns, target, parts, history)
    return made


def _expect_times(columns: dict[str, pa.Array], order: str) -> None:
    """See that new rows' times can be read; of a row without one nothing is known.

    Raises:
        DataError: more than a few have something else.
    """
    if order not in columns:
        return
    column = columns[order]
    other = np.isnan(times_of(column)) & column.is_valid().to_numpy(zero_copy_only=False)
    if other.sum() > MOST_UNREAD * len(column):
        first = int(np.argmax(other))
        msg = f"Expected times in column {clip(order)!r}, got {clip(str(column[first].as_py()))!r} and the like in {int(other.sum())} of {len(column)} rows, the first in row {first + 1}: mend them, or leave them empty."
        raise DataError(msg)


def _target(columns: dict[str, pa.Array], schema: Schema, rows: int) -> Float64[np.ndarray, " rows"]:
    """Values, or codes of classes; NaN where there is none."""
    if schema.target not in columns:
        return np.full(rows, np.nan)
    values, present = encode_target(columns[schema.target], schema)
    return np.where(present, values.astype(np.float64), np.nan)


def _read(derivation: Derivation, target: str, tables: Sequence[Tabular]) -> dict[str, pa.Array]:
    """The columns that it needs, of all tables one after the other; of new rows order and target may lack."""
    needed = list(source_columns(derivation))
    _expect(needed, [name for name in needed if all(name in table.names for table in tables)])
    optional = [derivation.order] if derivation.order != ROWS else []
    optional += (
        [target] if derivation.behaviour is not None or (derivation.series and derivation.series.target_lags) else []
    )
    needed += [name for name in optional if all(name in table.names for table in tables)]
    needed = list(dict.fromkeys(needed))
    parts: dict[str, list[pa.Array]] = {name: [] for name in needed}
    for table in tables:
        for _, batch in table.batches(needed):
            for name in needed:
                parts[name].append(batch[name])
    channels = () if derivation.series is None else derivation.series.channels
    read = {derivation.order: _as_times, **dict.fromkeys(channels, numbers)}
    return {name: _joined(found, read.get(name, _as_labels)) for name, found in parts.items()}


def _joined(parts: list[pa.Array], read: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """One array; parts of several types (whole numbers in one file, others in the next) become the wider one.

    Where none is wider, as of numbers and text, each part is what `read` makes of it.
    """
    try:
        return pa.concat_arrays(parts)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        pass
    try:
        return _whole(pa.concat_tables([pa.table({"x": part}) for part in parts], promote_options="permissive")["x"])
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.concat_arrays([read(part) for part in parts])


def _as_times(part: pa.Array) -> pa.Array:
    return pa.array(times_of(part), from_pandas=True)


def _as_labels(part: pa.Array) -> pa.Array:
    return labels(part).cast(pa.string())


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
