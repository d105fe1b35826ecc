"""What each column is, and what is to be learned."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from abi.data import media
from abi.data.derive import ask_derivation, derive_tables, kinds_of
from abi.data.features import encoded_feature, features_of, sequence_feature
from abi.data.mentions import with_mentions
from abi.data.mirrors import with_mirrors
from abi.data.order import choose_split
from abi.data.table import Tabular
from abi.data.target import Target, target_of
from abi.data.text import respelled
from abi.errors import DataError, UsageError, clip, lacking_columns, listed
from abi.media.cells import NOUNS
from abi.problem import Derivation, Feature, Grid, Problem, Schema, SetAside, Snapshot, Split
from abi.reading import DataConfig

if TYPE_CHECKING:
    from abi.config import Config

LEAST_ROWS = 20


def pose(snapshot: Snapshot, target: str, config: Config, train: Tabular, test: Tabular | None) -> Problem:
    """What is to be learned: schema and split, from the snapshot's tables and the settings."""
    split = choose_split(config, train, test)
    schema = infer_schema(train, target, config.data, test, learn=False)
    derivation = ask_derivation(config.data, train, target, schema)
    if derivation is not None:
        schema = derived_schema(derivation, schema, split, config.data, train, test)
    schema = media.with_codebooks(schema, train, split)
    return with_mirrors(Problem(snapshot=snapshot, schema=schema, split=split), train, config.data.media)


def derived_schema(
    derivation: Derivation,
    schema: Schema,
    split: Split,
    config: DataConfig,
    train: Tabular,
    test: Tabular | None,
    *,
    least_rows: int = LEAST_ROWS,
) -> Schema:
    """The schema of the tables with what is derived from them; `schema` is that without. Its grids are bare."""
    wide, wide_test = derive_tables(derivation, schema, split, train, test)
    asked = config.model_copy(update={"columns": kinds_of(derivation, config)})
    found = infer_schema(wide, schema.target, asked, wide_test, least_rows=least_rows, learn=False)
    return replace(found, derivation=derivation)


def infer_schema(
    table: Tabular,
    target: str,
    config: DataConfig,
    test: Tabular | None = None,
    *,
    least_rows: int = LEAST_ROWS,
    learn: bool = True,
) -> Schema:
    """Kinds, task, classes and what is set aside.

    Args:
        table: the training table.
        target: the column to be learned.
        config: kinds that replace the inferred ones, and the task.
        test: the user's test table, which must have the target and all features; other columns in it are ignored.
        least_rows: rows with a target that it takes.
        learn: let grids learn from the pictures of all rows; else they are bare until the split is known (`with_codebooks`).

    Raises:
        UsageError: `target` or a column of the settings is not in the table, or a setting does not fit its column.
        DataError: there is nothing to learn: too few rows, a target of one value, no column left.
    """
    expect_name(table, target, "target column")
    for name in config.columns:
        expect_name(table, name, "column (in data.columns)")
    for name in config.encoders:
        expect_name(table, name, "column (in data.encoders)")
    for name in () if config.sequences == "all" else config.sequences:
        expect_name(table, name, "column (in data.sequences)")
        if name == target:
            raise _no_text(name, "the target")
    held = table.column(target).media
    if held is not None:
        msg = f"Expected labels or numbers in the target {clip(target)!r}, got {NOUNS[held.medium]}: choose another column."
        raise UsageError(msg)
    labelled = table.rows - table.column(target).nulls
    if labelled == 0:
        msg = f"Expected values in the target {clip(target)!r}, got none in {table.rows} rows: choose another column or fill it."
        raise DataError(msg)
    if labelled < least_rows:
        msg = f"Expected at least {least_rows} rows with a target, got {labelled}: give more rows."
        raise DataError(msg)
    learned = target_of(table, target, config)
    features, aside, grids = _features(table, target, config)
    schema = Schema(
        target=target,
        task=learned.task,
        classes=learned.classes,
        features=features,
        set_aside=aside,
        grids=grids,
        separator=learned.separator,
        out_of_scope=learned.out_of_scope,
        spelled=_spelled(table, features, learned),
    )
    if test is not None:
        _expect_test(test, target, features, learned)
        expect_media(schema, test, "the test file")
    return media.with_codebooks(schema, table) if learn else schema


def respelled_columns(table: Tabular, names: Collection[str]) -> tuple[str, ...]:
    """Those of text, of these, with values that a file of nothing but numbers would spell otherwise; looks at the sample."""
    texts = [column.name for column in table.profile.columns if column.type == "string" and column.name in names]
    if not texts:
        return ()
    sample = table.sample(texts)
    return tuple(name for name in texts if respelled(sample[name].combine_chunks()))


def _spelled(table: Tabular, features: Sequence[Feature], target: Target) -> tuple[str, ...]:
    read = {feature.column for feature in features if feature.kind not in ("numeric", "region")}
    return respelled_columns(table, read | ({target.column} if target.task != "regression" else set()))


def _features(
    table: Tabular, target: str, config: DataConfig
) -> tuple[tuple[Feature, ...], tuple[SetAside, ...], tuple[Grid, ...]]:
    sample = table.sample()
    features: list[Feature] = []
    aside: list[SetAside] = []
    grids: list[Grid] = []
    names = set(table.names)
    for i, column in enumerate(table.profile.columns):
        if column.name == target:
            continue
        encoder = config.encoders.get(column.name)
        found: Sequence[Feature] | SetAside
        if column.type == "media" and column.nulls < table.rows and config.columns.get(column.name) != "ignore":
            found, grid = media.features_of(column, table.rows, config.media)
            grids.append(grid)
        else:
            found = features_of(
                column, sample.column(i).combine_chunks(), table.rows, config.columns.get(column.name), names
            )
        if isinstance(found, SetAside):
            if encoder is None:
                aside.append(found)
        else:
            features.extend(found)
        if isinstance(found, SetAside) or found[0].kind != "text":
            if column.name in config.sequences:
                raise _no_text(
                    column.name, f"one that {found.reason}" if isinstance(found, SetAside) else f"a {found[0].kind} one"
                )
        elif config.sequences == "all" or column.name in config.sequences:
            features.append(sequence_feature(column, sample.column(i).combine_chunks(), table.rows, names))
        if encoder is not None:
            features.append(encoded_feature(column, encoder, table.rows, names))
    if not features:
        reasons = (
            "; ".join(f"{clip(one.column)!r} {one.reason}" for one in aside[:3]) or "the target is the only column"
        )
        msg = f"Expected a column to learn from, got none: {reasons}. Give more columns, or set their kinds in data.columns."
        raise DataError(msg)
    return with_mentions(features, sample, config.mentions), tuple(aside), tuple(grids)


def _no_text(name: str, got: str) -> UsageError:
    return UsageError(
        f"Expected columns of free text in data.sequences, got {clip(name)!r}, {got}: name a column of text, or set its kind to text in data.columns."
    )


def expect_media(schema: Schema, table: Tabular, place: object) -> None:
    """See that columns of files hold the same here as in the training data.

    Args:
        schema: what was learned.
        table: other rows.
        place: the table's name, for the message.

    Raises:
        DataError: they do not.
    """
    lacking = [name for name in schema.media if name not in table.names]
    if lacking:
        raise lacking_columns(lacking, str(place))
    for name, expected in schema.media.items():
        column = table.column(name)
        medium = column.media.medium if column.media else None
        if medium == expected or column.nulls == table.rows:
            continue
        got = NOUNS[medium] if medium else f"a column of type {column.type}, whose files were not found"
        msg = f"Expected {NOUNS[expected]} in column {clip(name)!r} of {place}, as in the training data, got {got}: put the files beside the table, or set data.media.folder."
        raise DataError(msg)


def expect_name(table: Tabular, name: str, what: str) -> None:
    """See that the table has that column.

    Raises:
        UsageError: it has not; the message names the nearest.
    """
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
