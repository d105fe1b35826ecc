"""Rows that have an order in time: which column orders them, and a split that keeps to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64, Int8

from abi.data import text as spelled
from abi.data.split import roles
from abi.data.table import Tabular
from abi.errors import DataError, UsageError, clip, listed
from abi.problem import Split

if TYPE_CHECKING:
    from abi.config import Config

ROWS: Final = "rows"
"""What `data.order` says where the rows of the file are in order already."""
DISTINCT: Final = 20
"""Fewer different times than this do not order a table by themselves."""


def times_of(column: pa.Array | pa.ChunkedArray) -> Float64[np.ndarray, " rows"]:
    """Dates as seconds since 1970 (UTC), numbers as they are; NaN where there is neither."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if spelled.is_text(kind):
        dates = spelled.moments(array)
        array = array if dates.null_count == len(array) else dates
    found = spelled.numbers(array).fill_null(np.nan).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def read_times(table: Tabular, order: str) -> Float64[np.ndarray, " rows"]:
    """The time of each row of a table; its number where `order` is "rows"."""
    if order == ROWS:
        return np.arange(table.rows, dtype=np.float64)
    return np.concatenate([np.empty(0), *(times_of(batch.column(0)) for _, batch in table.batches([order]))])


def table_roles(
    split: Split, rows: int, read: Callable[[str], Float64[np.ndarray, " rows"]]
) -> Int8[np.ndarray, " rows"]:
    """The role of each row of a training table (`abi.data.split.roles`); `read` gives the times of the column that orders them."""
    timed = split.order not in ("", ROWS)
    return roles(np.arange(rows, dtype=np.int64), split, read(split.order) if timed else None)


def choose_split(config: Config, train: Tabular, test: Tabular | None, *, whole: bool = False) -> Split:
    """The split that the settings ask for, or that a column of times asks for.

    Args:
        config: the settings.
        train: the table that is divided.
        test: the user's test table.
        whole: no row of `train` is for the test, even where there is no test table.

    Raises:
        UsageError: `data.order` names no column, or an ordered split has no order.
        DataError: the times leave no rows for training, validation or test.
    """
    data = config.data
    split = Split(seed=config.seed, validation=data.validation, test=0.0 if whole or test is not None else data.test)
    if data.ordering is not None:
        expect_order(data.ordering, config, train, test)
    if data.split == "random":
        return split
    found = data.ordering or find_order(train, test)
    if found is None:
        if data.split == "ordered":
            msg = "Expected data.order beside data.split ordered, got none and no column of times that sorts the rows: name the column, or set it to rows for the file's order."
            raise UsageError(msg)
        return split
    if test is not None and data.ordering is not None and found != ROWS:
        checked_times(test, found, config.checks.no_time, " of the test file")
    try:
        return ordered_split(split, found, checked_times(train, found, config.checks.no_time))
    except DataError:
        if data.ordering is None and data.split == "auto":  # the rows have an order, but not one that parts them
            return split
        raise


def ordered_split(split: Split, order: str, times: Float64[np.ndarray, " rows"]) -> Split:
    """The same shares, the last rows for the test, those before them for validation; equal times stay together.

    Raises:
        DataError: a part would have no rows.
    """
    known = np.sort(times[~np.isnan(times)])
    shares = [(1 - split.test) * (1 - split.validation), *([1 - split.test] if split.test else [])]
    starts = [float(known[min(int(share * len(known)), len(known) - 1)]) for share in shares] if len(known) else []
    if not starts or starts[0] <= known[0] or len(set(starts)) < len(starts):
        msg = f"Expected times in {clip(order)!r} that leave earlier rows to train on and later ones to hold out, got {_different(known)} in {len(times)} rows: name another column of times, or, without data.roles, set data.split to random."
        raise DataError(msg)
    return Split(seed=split.seed, validation=split.validation, test=split.test, order=order, starts=tuple(starts))


def _different(known: Float64[np.ndarray, " rows"]) -> str:
    count = len(np.unique(known))
    return "one and the same" if count == 1 else f"{count} different ones"


def first_where(rows: Bool[np.ndarray, " rows"]) -> int:
    """Number of the first of them, counted from 1 as people do; 0 where there is none."""
    return int(np.argmax(rows)) + 1 if rows.any() else 0


def falls(times: Float64[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
    """Which rows stand after a later one: the time lies before the latest so far."""
    latest = np.fmax.accumulate(times) if len(times) else times
    return np.asarray(times < latest)


def checked_times(table: Tabular, order: str, limit: float, where: str = "") -> Float64[np.ndarray, " rows"]:
    """The times, where few enough of them are missing.

    Raises:
        DataError: more than the limit are.
    """
    times = read_times(table, order)
    missing = np.isnan(times)
    if missing.mean() > limit:
        msg = f"Expected a time in all but {limit:.1%} of the rows of {clip(order)!r}{where} (checks.no_time), got none in {int(missing.sum())} of {len(times)}, the first in row {first_where(missing)}: mend them, or set another limit."
        raise DataError(msg)
    return times


def find_order(train: Tabular, test: Tabular | None) -> str | None:
    """A column of times that never falls from one row to the next, and whose test rows come after the training rows."""
    for column in train.profile.columns:
        if column.type != "timestamp" or column.nulls or column.distinct < DISTINCT:
            continue
        times = read_times(train, column.name)
        if np.any(np.diff(times) < 0):
            continue
        if test is None:
            return column.name
        if column.name in test.names and np.nanmin(read_times(test, column.name), initial=np.inf) >= times[-1]:
            return column.name
    return None


def expect_order(order: str, config: Config, train: Tabular, test: Tabular | None = None) -> None:
    """See that the tables have the column that the settings name, and that it has times.

    Raises:
        UsageError: they lack it, or it has none.
    """
    if order == ROWS:
        return
    setting = "data.order" if config.data.order is not None else "data.roles.time"
    for table, what in ((train, "table"), (test, "test file")):
        if table is not None and order not in table.names:
            msg = f"Expected {setting} as a column of the {what} or rows, got {clip(order)!r}: it has {listed(table.names)}."
            raise UsageError(msg)
    if np.isnan(read_times(train, order)).all():
        msg = f"Expected times or numbers in column {clip(order)!r}, which {setting} names, got none: name another column."
        raise UsageError(msg)
