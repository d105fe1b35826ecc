"""What each column is, and what is to be learned."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from abi.config import DataConfig
from abi.data.features import features_of
from abi.data.table import Tabular
from abi.data.target import Target, target_of
from abi.errors import DataError, UsageError, clip, listed
from abi.problem import Feature, Problem, Schema, SetAside, Snapshot, Split

if TYPE_CHECKING:
    from abi.config import Config

LEAST_ROWS = 20


def pose(snapshot: Snapshot, target: str, config: Config, train: Tabular, test: Tabular | None) -> Problem:
    """What is to be learned: schema and split, from the snapshot's tables and the settings."""
    return Problem(
        snapshot=snapshot,
        schema=infer_schema(train, target, config.data, test),
        split=Split(
            seed=config.seed, validation=config.data.validation, test=0.0 if test is not None else config.data.test
        ),
    )


def infer_schema(
    table: Tabular, target: str, config: DataConfig, test: Tabular | None = None, *, least_rows: int = LEAST_ROWS
) -> Schema:
    """Kinds, task, classes and what is set aside.

    Args:
        table: the training table.
        target: the column to be learned.
        config: kinds that replace the inferred ones, and the task.
        test: the user's test table, which must have the target and all features; other columns in it are ignored.
        least_rows: rows with a target that it takes.

    Raises:
        UsageError: `target` or a column of the settings is not in the table, or a setting does not fit its column.
        DataError: there is nothing to learn: too few rows, a target of one value, no column left.
    """
    _expect_name(table, target, "target column")
    for name in config.columns:
        _expect_name(table, name, "column (in data.columns)")
    labelled = table.rows - table.column(target).nulls
    if labelled == 0:
        msg = f"Expected values in the target {clip(target)!r}, got none in {table.rows} rows: choose another column or fill it."
        raise DataError(msg)
    if labelled < least_rows:
        msg = f"Expected at least {least_rows} rows with a target, got {labelled}: give more rows."
        raise DataError(msg)
    learned = target_of(table, target, config)
    features, aside = _features(table, target, config)
    if test is not None:
        _expect_test(test, target, features, learned)
    return Schema(target=target, task=learned.task, classes=learned.classes, features=features, set_aside=aside)


def _features(table: Tabular, target: str, config: DataConfig) -> tuple[tuple[Feature, ...], tuple[SetAside, ...]]:
    sample = table.sample()
    features: list[Feature] = []
    aside: list[SetAside] = []
    names = set(table.names)
    for i, column in enumerate(table.profile.columns):
        if column.name == target:
            continue
        found = features_of(
            column, sample.column(i).combine_chunks(), table.rows, config.columns.get(column.name), names
        )
        if isinstance(found, SetAside):
            aside.append(found)
        else:
            features.extend(found)
    if not features:
        reasons = (
            "; ".join(f"{clip(one.column)!r} {one.reason}" for one in aside[:3]) or "the target is the only column"
        )
        msg = f"Expected a column to learn from, got none: {reasons}. Give more columns, or set their kinds in data.columns."
        raise DataError(msg)
    return tuple(features), tuple(aside)


def _expect_name(table: Tabular, name: str, what: str) -> None:
    if name in table.names:
        return
    raise UsageError(f"Expected a {what} of the table, got {clip(name)!r}: {_suggestion(name, table.names)}")


def _suggestion(name: str, names: Sequence[str]) -> str:
    lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(clip(lower[one])) for one in near)}?"
    return f"it has {listed(tuple(names))}."


def _expect_test(test: Tabular, target: str, features: tuple[Feature, ...], learned: Target) -> None:
    needed = dict.fromkeys([*(feature.column for feature in features), target])
    lacking = [name for name in needed if name not in set(test.names)]
    if lacking:
        msg = f"Expected the columns of the training file in the test file, got no {listed(lacking)}: add them to the test file."
        raise DataError(msg)
    if test.column(target).nulls == test.rows:
        msg = (
            f"Expected values in the target {clip(target)!r} of the test file, got none: give a test file with answers."
        )
        raise DataError(msg)
    learned.expect_known(test)
