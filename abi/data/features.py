"""What one column is: a kind with its features, or a reason to set it aside."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abi.data import text as spelled
from abi.data.columns import date_part
from abi.data.encoder_folder import describe
from abi.data.files import MOSTLY, is_path
from abi.data.table import ColumnProfile
from abi.data.words import reading_of
from abi.errors import UsageError, clip
from abi.problem import DatePart, Feature, Kind, SetAside

if TYPE_CHECKING:
    from abi.reading import EncoderConfig

ID_SHARE = 0.95
ID_ROWS = 100
LOOKED_AT = 256
TEXT_WORDS = 4
LETTER_WORDS = 3
"""As many words of letters alone are text as well: "nothing fits", but neither "05 Jan 2020" nor "AB 12 34567"."""
TEXT_SHARE = 0.5
SEQUENCE_FILL = 0.5

_DATE_PARTS: tuple[DatePart, ...] = ("time", "month", "weekday", "hour")
_NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_ID_WORDS = {
    "id",
    "ids",
    "uid",
    "uuid",
    "guid",
    "pk",
    "index",
    "idx",
    "key",
    "rowid",
    "identifier",
    "serial",
    "unnamed",
}


def features_of(
    column: ColumnProfile, sample: pa.Array, rows: int, override: str | None, taken: set[str]
) -> tuple[Feature, ...] | SetAside:
    """The features of a column, or why it has none.

    Args:
        column: its profile, over all rows.
        sample: its values in the table's sample.
        rows: rows of the table.
        override: the kind that the settings give it, which wins.
        taken: column names that a date part must not be named as.

    Raises:
        UsageError: `override` does not fit the column.
    """
    unusable = _unusable(column, rows, override)
    if unusable:
        return unusable
    kind, reason = (override, "is set so in data.columns") if override else _kind(column, sample, rows)
    if kind == "id":
        return SetAside(column=column.name, kind=kind, reason=reason)
    if override:
        _expect_fit(column, sample, override)
    missing = column.nulls / rows
    if kind == "date":
        return _date(column, sample, missing, taken)
    if kind == "numeric" and column.type == "string":
        missing = spelled.numbers(sample).null_count / len(sample)
    name = column.name
    return (Feature(name=name, column=name, kind=cast("Kind", kind), distinct=column.distinct, missing_share=missing),)


def encoded_feature(column: ColumnProfile, encoder: EncoderConfig, rows: int, taken: set[str]) -> Feature:
    """What a pretrained encoder makes of a column of text or images: a feature beside those of the column itself.

    Args:
        column: its profile, over all rows.
        encoder: its settings.
        rows: rows of the table.
        taken: column names that it must not be named as.

    Raises:
        UsageError: the column holds neither text nor images, or the encoder cannot be used.
    """
    medium = column.media.medium if column.media is not None else None
    if column.nulls == rows or not (column.type == "string" or medium == "image"):
        got = "no values" if column.nulls == rows else "sounds" if medium else f"{column.type} values"
        msg = f"Expected text or images in the column {clip(column.name)!r}, which data.encoders names, got {got}: name a column of text or images."
        raise UsageError(msg)
    if medium is None:
        found = describe(encoder, column.name)
    else:
        from abi.data.picture_encoder import describe_pictures  # noqa: PLC0415 - it brings torch

        found = describe_pictures(encoder, column.name)
    return replace(_beside(column, "encoder", "embedding", rows, taken), encoder=found)


def sequence_feature(column: ColumnProfile, sample: pa.Array, rows: int, taken: set[str]) -> Feature:
    """A column of text as a sequence of words: a feature beside its terms.

    Args:
        column: its profile, over all rows.
        sample: its values in the table's sample.
        rows: rows of the table.
        taken: column names that it must not be named as.
    """
    words = reading_of(spelled.labels(sample.drop_null()).dictionary.to_pylist())
    return replace(_beside(column, "sequence", "sequence", rows, taken), words=words)


def _beside(column: ColumnProfile, called: str, kind: Kind, rows: int, taken: set[str]) -> Feature:
    """One more feature of a column, under a name that none of `taken` has."""
    name = f"{column.name}:{called}"
    while name in taken:
        name += "_"
    missing = column.nulls / rows
    return Feature(name=name, column=column.name, kind=kind, distinct=column.distinct, missing_share=missing)


def _unusable(column: ColumnProfile, rows: int, override: str | None) -> SetAside | None:
    if column.type in {"list", "other"}:
        return SetAside(column=column.name, kind="other", reason=f"holds {column.example}, which is not used")
    if column.type == "media" and column.nulls == rows:
        found = column.media.first_broken if column.media else ""
        return SetAside(column=column.name, kind="empty", reason=f"holds no file that can be read ({found or 'none'})")
    if override == "ignore":
        return SetAside(column=column.name, kind="ignored", reason="is set to ignore in data.columns")
    if column.nulls == rows:
        return SetAside(column=column.name, kind="empty", reason="holds no values")
    if column.distinct == 1 and not column.nulls:
        return SetAside(column=column.name, kind="constant", reason="holds one value only")
    return None


def _kind(column: ColumnProfile, sample: pa.Array, rows: int) -> tuple[str, str]:
    """(kind, the reason where it is set aside for it)."""
    present = rows - column.nulls
    if column.distinct <= 2 or column.type == "boolean":  # noqa: PLR2004 - two values
        return "boolean", ""
    if column.type == "timestamp":
        return "date", ""
    if column.type == "string":
        return _kind_of_text(column, sample, present)
    nearly_all = present > ID_ROWS and column.distinct >= ID_SHARE * present
    whole = column.type == "integer" or (nearly_all and _is_whole(sample))
    if nearly_all and whole:
        if _is_named_as_id(column.name):
            return "id", "has another number in nearly every row, and the name of an identifier"
        if column.type == "integer" and _is_sequence(column, present):
            return "id", "counts the rows"
    return "numeric", ""


def _kind_of_text(column: ColumnProfile, sample: pa.Array, present: int) -> tuple[str, str]:
    if column.not_numbers:
        return "categorical", ""
    values = sample.drop_null()
    if len(values) and spelled.timestamps(values) is not None:
        return "date", ""
    if len(values) and np.mean([is_path(value) for value in values[:LOOKED_AT].to_pylist()]) >= MOSTLY:
        return "id", "names files, none of which was found beside the table or in data.media.folder"
    share = column.distinct / present
    if share >= TEXT_SHARE and (_mean_words(values) >= TEXT_WORDS or _mean_letters(values) >= LETTER_WORDS):
        return "text", ""
    if present > ID_ROWS and share >= ID_SHARE:
        return "id", "has another value in nearly every row"
    return "categorical", ""


def _mean_words(values: pa.Array) -> float:
    mean = pc.mean(pc.add(pc.count_substring_regex(values, r"\s+"), 1)).as_py()
    return float(mean or 0)


def _mean_letters(values: pa.Array) -> float:
    """Mean number of words that have letters and no digits."""
    without = pc.replace_substring_regex(values, r"\S*\d\S*", "")
    return float(pc.mean(pc.count_substring_regex(without, r"\S*\p{L}\S*")).as_py() or 0)


def _is_named_as_id(name: str) -> bool:
    parts = [part.lower() for part in _NAME_PARTS.findall(name)]
    return bool(parts) and (parts[-1] in _ID_WORDS or parts[0] in _ID_WORDS)


def _is_sequence(column: ColumnProfile, present: int) -> bool:
    """Whether distinct whole numbers fill at least half of their range: a row count, or a share of one.

    Measured numbers that dense repeat: of n drawn from a range of 2n only 79% are distinct.
    """
    assert column.minimum is not None
    assert column.maximum is not None
    return present >= SEQUENCE_FILL * (column.maximum - column.minimum + 1)


def _is_whole(sample: pa.Array) -> bool:
    values = sample.drop_null().to_numpy(zero_copy_only=False)
    return bool(np.all(values == np.floor(values)))


def _date(column: ColumnProfile, sample: pa.Array, missing: float, taken: set[str]) -> tuple[Feature, ...] | SetAside:
    """The parts that vary: a time since 1970 in seconds, month, weekday, hour."""
    features = []
    for part in _DATE_PARTS:
        values = date_part(sample, part)
        distinct = len(np.unique(values[~np.isnan(values)]))
        if distinct > 1:
            name = f"{column.name}:{part}"
            while name in taken:
                name += "_"
            features.append(
                Feature(
                    name=name,
                    column=column.name,
                    kind="numeric",
                    part=part,
                    distinct=column.distinct if part == "time" else distinct,
                    missing_share=missing,
                )
            )
    if not features:
        return SetAside(column=column.name, kind="constant", reason="holds one date only")
    return tuple(features)


def _expect_fit(column: ColumnProfile, sample: pa.Array, override: str) -> None:
    shown = clip(column.name)
    if override == "boolean" and column.distinct > 2:  # noqa: PLR2004 - two values
        msg = f"Expected two values in column {shown!r}, which data.columns sets to boolean, got {column.distinct}: set it to categorical."
        raise UsageError(msg)
    if override == "date" and column.type != "timestamp" and spelled.moments(sample).null_count == len(sample):
        msg = f"Expected ISO dates such as 2024-01-31 in column {shown!r}, which data.columns sets to date, got none: change that setting or the file."
        raise UsageError(msg)
    if override == "numeric" and spelled.numbers(sample).null_count == len(sample):
        msg = f"Expected numbers in column {shown!r}, which data.columns sets to numeric, got none: set it to categorical."
        raise UsageError(msg)
