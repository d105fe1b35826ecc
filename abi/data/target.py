"""What is to be learned from the target column: the task and its classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from abi.config import DataConfig
from abi.data.columns import encode_target, unknown_classes
from abi.data.table import ColumnProfile, Tabular
from abi.data.text import is_number, labels
from abi.errors import DataError, UsageError, clip, listed
from abi.problem import Schema, Task

MOST_CLASSES = 1_000
FEW_VALUES = 20
ROWS_PER_VALUE = 5
CLASS_ROWS = 2


@dataclass(frozen=True)
class Target:
    """The task, and its classes as text in sorted order (none for regression)."""

    column: str
    task: Task
    classes: tuple[str, ...]

    def expect_known(self, test: Tabular) -> None:
        """Raise a DataError where the test table has a class that the training table lacks, or infinite values."""
        schema = Schema(target=self.column, task=self.task, classes=self.classes, features=(), set_aside=())
        if self.task == "regression":
            for _, batch in test.batches([self.column]):
                encode_target(batch.column(0), schema)
            return
        strange = {name: rows for name, rows in sorted(_counted(test, self.column).items()) if name not in self.classes}
        if strange:
            raise unknown_classes(strange, schema)


def target_of(table: Tabular, name: str, config: DataConfig) -> Target:
    """Task and classes.

    Raises:
        UsageError: the task that the settings name does not fit the column.
        DataError: one class only, a constant, infinite values, too many classes, or dates.
    """
    column = table.column(name)
    shown = clip(name)
    if column.type in ("timestamp", "other"):
        what = "dates" if column.type == "timestamp" else f"values of type {column.example}"
        msg = f"Expected numbers or classes in the target {shown!r}, got {what}: choose another column."
        raise DataError(msg)
    if column.non_finite:
        msg = f"Expected finite values in the target {shown!r}, got {column.non_finite} infinite: mend or remove those rows."
        raise DataError(msg)
    override = config.columns.get(name)
    if override in ("ignore", "id", "text", "date"):
        msg = f"Expected the target {shown!r} to be numeric or categorical, got {override!r} in data.columns: remove that setting."
        raise UsageError(msg)
    if column.distinct < 2:  # noqa: PLR2004 - something to tell apart
        msg = f"Expected at least two values in the target {shown!r}, got one only: there is nothing to learn, choose another column."
        raise DataError(msg)
    regression = config.task == "regression" if config.task != "auto" else _is_measured(table, column, override)
    if regression:
        if column.type == "string" and not (override == "numeric" and column.not_numbers):
            example = f", such as {column.example}" if column.example else ""
            msg = f"Expected numbers in the target {shown!r}, got text{example}: mend them, or set data.task to multiclass."
            raise DataError(msg)
        return Target(name, "regression", ())
    return Target(name, *_classes(_counted(table, name), column, config.task))


def _is_measured(table: Tabular, column: ColumnProfile, override: str | None) -> bool:
    if override in ("categorical", "boolean"):
        return False
    if override == "numeric":
        return True
    if column.type in ("string", "boolean"):
        if column.not_numbers and column.distinct > FEW_VALUES:
            msg = f"Expected numbers in the target {clip(column.name)!r}, got {column.not_numbers} that are not, such as {column.example}: mend them, or set its kind in data.columns."
            raise DataError(msg)
        return False
    if column.distinct == 2:  # noqa: PLR2004 - two classes
        return False
    few = column.distinct <= FEW_VALUES and (table.rows - column.nulls) >= ROWS_PER_VALUE * column.distinct
    return not (few and (column.type == "integer" or _is_whole(table, column.name)))


def _is_whole(table: Tabular, name: str) -> bool:
    values = table.sample().column(name).drop_null().to_numpy()
    return bool(np.all(values == np.floor(values)))


def _counted(table: Tabular, name: str) -> Counter[str]:
    """Rows of each label. Reads the one column."""
    counts: Counter[str] = Counter()
    for _, batch in table.batches([name]):
        encoded = labels(batch.column(0))
        codes = encoded.indices.drop_null().to_numpy()
        for value, rows in zip(
            encoded.dictionary.to_pylist(), np.bincount(codes, minlength=len(encoded.dictionary)), strict=True
        ):
            if rows:
                counts[value] += int(rows)
    return counts


def _classes(
    counts: Counter[str], column: ColumnProfile, asked: Literal["auto", "binary", "multiclass", "regression"]
) -> tuple[Task, tuple[str, ...]]:
    shown = clip(column.name)
    names = list(counts)
    numeric = is_number(pa.array(names)).to_pylist()
    classes = tuple(sorted(names, key=float) if all(numeric) else sorted(names))
    if len(classes) > MOST_CLASSES:
        msg = f"Expected at most {MOST_CLASSES:,} classes in the target {shown!r}, got {len(classes):,}: choose a target that repeats, or one of numbers."
        raise DataError(msg)
    frequent = [name for name, rows in counts.items() if rows >= CLASS_ROWS]
    if len(frequent) < 2:  # noqa: PLR2004 - two classes
        rare = [name for name in classes if name not in frequent]
        msg = f"Expected at least {CLASS_ROWS} rows of each of two classes in the target {shown!r}, got one row of {listed(rare)}: give more rows."
        raise DataError(msg)
    if asked == "binary" and len(classes) != 2:  # noqa: PLR2004 - two classes
        msg = f"Expected two classes in the target {shown!r} for data.task binary, got {len(classes)} ({listed(classes)}): set data.task to auto."
        raise UsageError(msg)
    task: Task = "binary" if len(classes) == 2 and asked != "multiclass" else "multiclass"  # noqa: PLR2004
    return task, classes
