"""What the data checks look at: small frames of one file, on which ordinary expectations run.

==========  ============================================================================================
frame       rows
==========  ============================================================================================
rows        the file's sample: columns in use, numbers as numbers, everything else as the text the model sees
facts       one: figures of the whole file, exact
labels      one per class, with its rows in the whole file (classification only)
==========  ============================================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from abi.config import ScoringConfig
from abi.data.derive import raw_columns
from abi.data.duplicates import duplicate_share, overlap_share, row_hashes
from abi.data.label_sets import count_labels
from abi.data.reader import Reader
from abi.data.table import ColumnProfile, Tabular
from abi.data.text import labels, numbers
from abi.errors import AbiError, clip, listed
from abi.problem import Schema
from abi.scoring.score import score

# figures of the whole file
ROWS = "rows"
DUPLICATES = "duplicate rows"
OVERLAP = "test rows also in the training rows"
UNLABELLED = "rows without a label"
RAREST = "rarest class"
INFINITE = "columns with infinite values"
MIXED = "columns of mixed types"
EMPTY = "columns without values"
BROKEN = "most broken files of a column"
SHAPES = "columns of files of several shapes"
LEAK = "strongest single feature"
STRANGE = "columns that are not in the suite"
BORNE_OUT = 0.5
# of wide tables, in place of expectations on each column
ABSENT = "columns that are missing"
SPARSE = "columns with more missing values"
OUTSIDE = "columns out of their range"


@dataclass(frozen=True)
class File:
    """The frames of one file, and what to say about a fact beyond its figure (and of which column)."""

    frames: dict[str, pd.DataFrame]
    said: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)


def type_fact(column: str) -> str:
    """Name of the fact that holds the type of a column."""
    return f"type of {column}"


def used(schema: Schema) -> list[str]:
    """The columns that are learned from, not those that are derived from them, and the target."""
    return list(dict.fromkeys([*raw_columns(schema), schema.target]))


def numeric(schema: Schema) -> set[str]:
    """Of those, the ones that are read as numbers."""
    columns = {f.column for f in schema.features if f.kind == "numeric" and f.part is None}
    return columns | ({schema.target} if schema.task == "regression" else set())


def media_columns(table: Tabular, schema: Schema) -> list[ColumnProfile]:
    """The columns of files, also those that none can be read of; without what the user left out."""
    ignored = {aside.column for aside in schema.set_aside if aside.kind == "ignored"}
    return [c for c in table.profile.columns if c.media is not None and c.name not in ignored]


def sampled(table: Tabular, schema: Schema) -> pd.DataFrame:
    """The file's sample as the model reads it; a column that the file does not have is not in it."""
    sample = table.sample()
    columns = dict(zip(sample.column_names, sample.columns, strict=True))
    as_numbers = numeric(schema)
    frame: dict[str, object] = {}
    for name in used(schema):
        if name in columns:
            column = columns[name].combine_chunks()
            frame[name] = (
                numbers(column).to_numpy(zero_copy_only=False)
                if name in as_numbers
                else pd.Series(labels(column).dictionary_decode().to_pylist(), dtype=object)
            )
    return pd.DataFrame(frame, copy=False)


def gather(
    reader: Reader, limits: Mapping[str, Mapping[str, float | None]], wide: bool, decided: Collection[str] = ()
) -> dict[str, File]:
    """The frames of the training file and, where there is one, of the test file.

    Args:
        reader: the tables.
        limits: column -> {missing, minimum, maximum}, as the suite knows them.
        wide: state columns as counts, not one by one.
        decided: columns whose kind the user has set; a mixture in them is meant.
    """
    schema = reader.problem.schema
    names = used(schema)
    train = row_hashes(reader.train, names)
    files = {"train": _file(reader.train, schema, limits, wide, decided)}
    facts, file = files["train"].frames["facts"], files["train"]
    facts[DUPLICATES] = duplicate_share(train)
    facts[LEAK] = _leak(reader, file)
    _count(file, STRANGE, {name: "" for name in names if name not in limits})
    if reader.test is not None:
        file = files["test"] = _file(reader.test, schema, limits, wide, decided)
        shared = set(names) <= set(reader.test.names)
        file.frames["facts"][OVERLAP] = overlap_share(row_hashes(reader.test, names), train) if shared else None
        if not shared:
            file.said[OVERLAP] = "not measured, a column is missing"
    return files


def _file(
    table: Tabular,
    schema: Schema,
    limits: Mapping[str, Mapping[str, float | None]],
    wide: bool,
    decided: Collection[str],
) -> File:
    profiles = {column.name: column for column in table.profile.columns}
    present = [profiles[name] for name in used(schema) if name in profiles]
    figures: dict[str, object] = {ROWS: table.rows}
    file = File({"rows": sampled(table, schema)})
    if not wide:
        figures |= {type_fact(c.name): None if c.nulls == table.rows else c.type for c in present}
    file.frames["facts"] = pd.DataFrame([figures])
    numbered = numeric(schema)
    _count(file, INFINITE, {c.name: f"{c.non_finite:,} of {table.rows:,}" for c in present if c.non_finite})
    mixed = {c.name: f"{c.not_numbers:,} not a number, such as {c.example}" for c in present if c.not_numbers}
    _count(file, MIXED, {name: text for name, text in mixed.items() if name not in decided})
    _broken(file, media_columns(table, schema), table.rows)
    _count(file, EMPTY, {c.name: "" for c in table.profile.columns if c.nulls == table.rows})
    if schema.target in profiles:
        _label_facts(file, table, schema)
    if wide:
        shares = {c.name: c.nulls / table.rows for c in present}
        sparse = {n: f"{s:.1%}" for n, s in shares.items() if s > _limit(limits, n, "missing", 1.0)}
        outside = {
            c.name: f"{c.minimum:g} to {c.maximum:g}"
            for c in present
            if c.name in numbered
            and c.minimum is not None
            and c.maximum is not None
            and (
                c.minimum < _limit(limits, c.name, "minimum", -np.inf)
                or c.maximum > _limit(limits, c.name, "maximum", np.inf)
            )
        }
        _count(file, ABSENT, {name: "" for name in limits if name not in profiles})
        _count(file, SPARSE, sparse)
        _count(file, OUTSIDE, outside)
    return file


def _limit(limits: Mapping[str, Mapping[str, float | None]], column: str, key: str, otherwise: float) -> float:
    value = limits.get(column, {}).get(key)
    return otherwise if value is None else float(value)


def _count(file: File, fact: str, found: Mapping[str, str]) -> None:
    file.frames["facts"][fact] = len(found)
    if found:
        texts = [f"{clip(name)!r} ({text})" if text else repr(clip(name)) for name, text in list(found.items())[:3]]
        more = len(found) - len(texts)
        file.said[fact] = ", ".join(texts) + (f" and {more} more" if more else "")
    if len(found) == 1:
        file.columns[fact] = next(iter(found))


def _broken(file: File, columns: Sequence[ColumnProfile], rows: int) -> None:
    """The share of files that cannot be read, of the worst column; and which have files of several sizes or rates."""
    if not columns:  # as in a test file none of whose rows has one
        file.frames["facts"][BROKEN] = 0.0
        _count(file, SHAPES, {})
        return
    worst = max(columns, key=lambda column: column.media.broken if column.media else 0)
    assert worst.media is not None
    file.frames["facts"][BROKEN] = worst.media.broken / rows
    if worst.media.broken:
        file.said[BROKEN] = f"{worst.media.broken:,} of {rows:,}, the first in {worst.media.first_broken}"
        file.columns[BROKEN] = worst.name
    known = {c.name: c.media for c in columns if c.media is not None}
    mixed = {
        name: f"{m.shapes} sizes, brought to {m.width} x {m.height}"
        if m.medium == "image"
        else f"brought to {m.rate} Hz"
        for name, m in known.items()
        if m.shapes > 1 and (m.medium == "image" or m.several)
    }
    _count(file, SHAPES, mixed)


def _label_facts(file: File, table: Tabular, schema: Schema) -> None:
    facts = file.frames["facts"]
    facts[UNLABELLED] = table.column(schema.target).nulls / table.rows if table.rows else 0.0
    file.columns[UNLABELLED] = schema.target
    if schema.task == "regression":
        return
    counts: Counter[str] = Counter()
    for _, batch in table.batches([schema.target]):
        if schema.task == "multilabel":
            counts.update(count_labels(batch.column(0), schema.separator))
            continue
        encoded = labels(batch.column(0))
        found = np.bincount(encoded.indices.drop_null().to_numpy(), minlength=len(encoded.dictionary))
        counts.update(dict(zip(encoded.dictionary.to_pylist(), found.tolist(), strict=True)))
    counts = Counter({name: rows for name, rows in counts.items() if rows})
    file.frames["labels"] = pd.DataFrame(
        {"label": list(counts), "rows": [counts[name] for name in counts]}
    ).sort_values("label", ignore_index=True)
    if counts:
        rarest = min(counts, key=lambda name: (counts[name], name))
        facts[RAREST] = counts[rarest] * len(counts) / counts.total()
        file.said[RAREST] = f"{clip(rarest)!r} in {counts[rarest] / counts.total():.2%} of the rows"
        file.columns[RAREST] = schema.target


def _leak(reader: Reader, file: File) -> float | None:
    """How well the strongest feature alone tells the target, measured on the sample."""
    try:
        # neither intervals nor single terms are asked for
        found = score(reader.sampled(), ScoringConfig(groups=4), terms=False).features
    except AbiError as error:
        file.said[LEAK] = f"not measured: {error}"
        return None
    # of few rows the mutual information can be 1 by chance: it counts where held-out rows bear it out
    strengths = {
        f.feature: max(f.relevance if f.discrimination >= BORNE_OUT else 0.0, f.discrimination)
        for f in found
        if f.carries_signal
    }
    if not strengths:
        file.said[LEAK] = "none tells anything"
        return None
    top = max(strengths, key=lambda name: strengths[name])
    file.said[LEAK] = f"{clip(top)!r} with {strengths[top]:.3f}"
    file.columns[LEAK] = next(f.column for f in reader.problem.schema.features if f.name == top)
    return strengths[top]


def shown(values: Sequence[object]) -> str:
    """A few values for a sentence."""
    return listed([str(value) for value in values], 3)
