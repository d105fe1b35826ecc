"""One column of the raw file: its type so far, its values in that type, and what it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, cast, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abi.data import text as spelled
from abi.data.distinct import Distinct
from abi.data.label_sets import as_text, is_list
from abi.data.table import ColumnProfile, ColumnType
from abi.errors import clip

MOSTLY = 0.8


@runtime_checkable
class ColumnReader(Protocol):
    """Reads one column, block by block."""

    name: str

    @property
    def arrow_type(self) -> pa.DataType:
        """What the column is stored as, as far as it was read."""

    def read(self, block: pa.Array, first: int) -> pa.Array:
        """The block in that type; row numbers start from `first`."""

    def restart(self) -> None:
        """Forget the counts, keep the type."""

    def profile(self) -> ColumnProfile:
        """What was seen."""


class _Counts:
    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows = self.nulls = self.non_finite = self.numbers = self.codes = 0
        self.minimum, self.maximum = np.inf, -np.inf
        self.distinct = Distinct(columns)
        self.example: str | None = None

    def add(self, values: pa.Array) -> None:
        self.rows += len(values)
        self.nulls += values.null_count
        if pa.types.is_null(values.type):
            return
        self.distinct.add(values)
        if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
            finite = values
            ends = pc.min_max(values).as_py()
            if ends["min"] is not None and not np.isfinite([ends["min"], ends["max"]]).all():
                finite = values.filter(pc.is_finite(values))
                self.non_finite += len(values) - values.null_count - (len(finite) - finite.null_count)
                ends = pc.min_max(finite).as_py()
            if ends["min"] is not None:
                self.minimum, self.maximum = min(self.minimum, ends["min"]), max(self.maximum, ends["max"])

    def add_text(self, encoded: pa.DictionaryArray, first: int) -> None:
        """Text as a tidy dictionary: count also what reads as a number."""
        self.rows += len(encoded)
        self.distinct.add(encoded.dictionary)
        missing = pc.is_null(encoded.dictionary)
        number, code = (pc.fill_null(test(encoded.dictionary), False) for test in (spelled.is_number, spelled.is_code))
        indices = np.asarray(encoded.indices.fill_null(-1))
        used = indices[indices >= 0]
        counts = np.bincount(used, minlength=len(encoded.dictionary))
        self.nulls += len(indices) - len(used) + int(counts[np.asarray(missing)].sum())
        self.numbers += int(counts[np.asarray(number)].sum())
        self.codes += int(counts[np.asarray(code)].sum())
        if self.example is None:
            plain = ~(np.asarray(number) | np.asarray(missing))
            hits = np.flatnonzero(np.append(plain, False)[indices])
            if len(hits):
                value = encoded.dictionary[int(indices[hits[0]])].as_py()
                self.example = f"{clip(value)!r} (row {first + int(hits[0]) + 1})"

    def profile(self, name: str, kind: ColumnType) -> ColumnProfile:
        present = self.rows - self.nulls
        others = present - self.numbers
        mostly = kind == "string" and not self.codes and others > 0 and self.numbers >= MOSTLY * present
        number = kind in ("integer", "float") and self.minimum <= self.maximum
        return ColumnProfile(
            name=name,
            type=kind,
            nulls=self.nulls,
            non_finite=self.non_finite,
            not_numbers=others if mostly else 0,
            example=self.example if mostly else None,
            minimum=float(self.minimum) if number else None,
            maximum=float(self.maximum) if number else None,
            distinct=self.distinct.count(),
        )


class TextColumn:
    """A column of CSV text, whose type widens as its values are seen: integer -> float -> string."""

    def __init__(self, name: str, columns: int, *, text: bool = False) -> None:
        self.name = name
        self.kind: spelled.TextType = "string" if text else "null"
        self.counts = _Counts(columns)

    @property
    def arrow_type(self) -> pa.DataType:
        """What the column is stored as, as far as it was read."""
        return spelled.arrow_type(self.kind)

    def read(self, block: pa.Array, first: int) -> pa.Array:
        """The block in the type so far, which it may widen."""
        values = spelled.parse(block, self.kind) if self.kind not in ("null", "string") else None
        if values is None:
            encoded = block.dictionary_encode()
            encoded = pa.DictionaryArray.from_arrays(encoded.indices, spelled.tidy(encoded.dictionary))
            if self.kind != "string":
                self.kind = spelled.join(self.kind, spelled.type_of(encoded.dictionary))
            tidy = pc.take(encoded.dictionary, encoded.indices)
            if self.kind in ("string", "null"):
                self.counts.add_text(encoded, first)
                return tidy
            values = spelled.parse(tidy, self.kind)
            assert values is not None, "the joined type holds the block"
        if self.kind == "float":
            values = _nan_to_null(values)
        self.counts.add(values)
        return values

    def restart(self) -> None:
        """Forget the counts, keep the type."""
        self.counts = _Counts(self.counts.columns)

    def profile(self) -> ColumnProfile:
        """What was seen. A column without values is text."""
        return self.counts.profile(self.name, "string" if self.kind == "null" else cast("ColumnType", self.kind))


class ParquetColumn:
    """A column of Parquet, whose type its author chose."""

    def __init__(self, field: pa.Field, columns: int) -> None:
        self.name = field.name
        self.source = field.type
        self.kind = _stored(field.type)
        self.counts = _Counts(columns)

    @property
    def arrow_type(self) -> pa.DataType:
        """What the column is stored as; unsigned integers beyond 64 signed bits turn it into float."""
        return spelled.arrow_type(self.kind)

    def read(self, block: pa.Array, first: int) -> pa.Array:
        """The block in the stored type."""
        values = self._values(block)
        if self.kind == "string":
            encoded = values.dictionary_encode()
            self.counts.add_text(encoded, first)
            return values
        self.counts.add(values)
        return values

    def _values(self, block: pa.Array) -> pa.Array:  # noqa: PLR0911 - one line per type
        if self.kind == "other":
            return pa.nulls(len(block), pa.string())
        if self.kind == "list":
            return as_text(block)
        if self.kind == "string":
            return spelled.strings(block)
        if self.kind == "float":
            return _nan_to_null(spelled.numbers(block))
        if self.kind == "timestamp":
            return spelled.moments(block)
        plain = block.dictionary_decode() if pa.types.is_dictionary(block.type) else block
        try:
            return plain.cast(self.arrow_type)
        except pa.ArrowInvalid:
            self.kind = "float"
            return spelled.numbers(block)

    def restart(self) -> None:
        """Forget the counts, keep the type."""
        self.counts = _Counts(self.counts.columns)

    def profile(self) -> ColumnProfile:
        """What was seen."""
        profile = self.counts.profile(self.name, self.kind)
        if self.kind == "list":
            return replace(profile, example=str(self.source))
        if self.kind != "other":
            return profile
        return ColumnProfile(name=self.name, type="other", nulls=profile.nulls, example=str(self.source))


def _nan_to_null(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)


def _stored(kind: pa.DataType) -> ColumnType:  # noqa: PLR0911 - one line per type
    types = pa.types
    if types.is_dictionary(kind):
        return _stored(kind.value_type)
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind):
        return "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "float"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "timestamp"
    if spelled.is_text(kind) or types.is_null(kind) or types.is_time(kind):
        return "string"
    return "list" if is_list(kind) else "other"
