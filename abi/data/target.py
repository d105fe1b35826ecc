"""What is to be learned from the target column: the task and its classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from abi.data.columns import encode_target, unknown_classes
from abi.data.label_sets import count_labels
from abi.data.table import ColumnProfile, Tabular
from abi.data.text import is_number, labels
from abi.errors import DataError, UsageError, clip, listed
from abi.problem import Schema, Task
from abi.reading import DataConfig

MOST_CLASSES = 1_000
FEW_VALUES = 20
ROWS_PER_VALUE = 5
CLASS_ROWS = 2


@dataclass(frozen=True)
class Target:
    """The task, and its classes as text in sorted order (none for regression); `separator` as in the schema."""

    column: str
    task: Task
    classes: tuple[str, ...]
    separator: str | None = None
    out_of_scope: str | None = None

    def expect_known(self, test: Tabular) -> None:
        """Raise a DataError where the test table has a class that the training table lacks, or infinite values."""
        schema = Schema(target=self.column, task=self.task, classes=self.classes, features=(), set_aside=())
        if self.task == "regression":
            for _, batch in test.batches([self.column]):
                encode_target(batch.column(0), schema)
            return
        several = self.task == "multilabel"
        counted = _counted_sets(test, self.column, self.separator) if several else _counted(test, self.column)
        strange = {name: rows for name, rows in sorted(counted.items()) if name not in self.classes}
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
        blanks = " (blanks around a value do not count)" if column.type == "string" else ""
        msg = f"Expected at least two values in the target {shown!r}, got one only{blanks}: there is nothing to learn, choose another column."
        raise DataError(msg)
    if _holds_several(column, config):
        if config.out_of_scope is not None:
            msg = f"Expected one class per row in the target {shown!r} for data.out_of_scope={config.out_of_scope!r}, got several labels: leave that setting out; a row without labels is none of them."
            raise UsageError(msg)
        return _sets(table, name, config.separator)
    regression = config.task == "regression" if config.task != "auto" else _is_measured(table, column, override)
    if config.out_of_scope is not None:
        return _with_rejection(table, name, column, config, regression=regression)
    if regression:
        if column.type == "string" and not (override == "numeric" and column.not_numbers):
            example = f", such as {column.example}" if column.example else ""
            msg = f"Expected numbers in the target {shown!r}, got text{example}: mend them, or set data.task to multiclass."
            raise DataError(msg)
        return Target(name, "regression", ())
    return Target(name, *_classes(_counted(table, name), column, config.task))


def _with_rejection(
    table: Tabular, name: str, column: ColumnProfile, config: DataConfig, *, regression: bool
) -> Target:
    """Several classes and the one that means none of them, whether some row has it or not."""
    shown, outside = clip(name), config.out_of_scope
    assert outside is not None
    if regression or config.task == "binary":
        got = "numbers" if regression else "data.task binary"
        msg = f"Expected classes in the target {shown!r} for data.out_of_scope={outside!r}, got {got}: leave that setting out, or set data.task to multiclass."
        raise UsageError(msg)
    counts = _counted(table, name)
    inside = Counter({label: rows for label, rows in counts.items() if label != outside})
    if len(inside) < 2:  # noqa: PLR2004 - something to tell apart
        msg = f"Expected at least two classes beside {outside!r} in the target {shown!r}, got {len(inside)}: check data.out_of_scope."
        raise DataError(msg)
    _classes(inside, column, "auto")
    return Target(name, "multiclass", _in_order({**counts, outside: 0}), out_of_scope=outside)


def _holds_several(column: ColumnProfile, config: DataConfig) -> bool:
    """Whether rows have any number of labels each.

    Raises:
        UsageError: the settings contradict each other, or the column.
    """
    shown, lists = clip(column.name), column.type == "list"
    if not lists and config.separator is None and config.task != "multilabel":
        return False
    if config.task not in {"auto", "multilabel"}:
        what = f"holds {column.example}" if lists else f"has data.separator={config.separator!r}"
        msg = f"Expected one value per row in the target {shown!r} for data.task {config.task}, got one that {what}: set data.task to multilabel."
        raise UsageError(msg)
    if lists and config.separator is not None:
        msg = f"Expected text in the target {shown!r} for data.separator={config.separator!r}, got {column.example}: leave data.separator out."
        raise UsageError(msg)
    if not lists and config.separator is None:
        msg = f"Expected lists in the target {shown!r} for data.task multilabel, got one value per row: set data.separator to what stands between labels, as |."
        raise UsageError(msg)
    return True


def _sets(table: Tabular, name: str, separator: str | None) -> Target:
    counts = _counted_sets(table, name, separator)
    shown = clip(name)
    if not any(rows >= CLASS_ROWS for rows in counts.values()):
        msg = f"Expected at least {CLASS_ROWS} rows with the same label in the target {shown!r}, got {len(counts)} labels with fewer: give more rows."
        raise DataError(msg)
    if len(counts) > MOST_CLASSES:
        msg = f"Expected at most {MOST_CLASSES:,} labels in the target {shown!r}, got {len(counts):,}: choose a target whose labels repeat, or check data.separator."
        raise DataError(msg)
    return Target(name, "multilabel", _in_order(counts), separator)


def _counted_sets(table: Tabular, name: str, separator: str | None) -> Counter[str]:
    """Rows of each label. Reads the one column."""
    counts: Counter[str] = Counter()
    for _, batch in table.batches([name]):
        counts.update(count_labels(batch.column(0), separator))
    return counts


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """As numbers where all are, else as text."""
    found = list(names)
    numeric = is_number(pa.array(found, pa.string())).to_pylist()
    return tuple(sorted(found, key=float) if all(numeric) else sorted(found))


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
    counts: Counter[str],
    column: ColumnProfile,
    asked: Literal["auto", "binary", "multiclass", "multilabel", "regression"],
) -> tuple[Task, tuple[str, ...]]:
    shown = clip(column.name)
    classes = _in_order(counts)
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
