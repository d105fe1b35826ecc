"""Rows as arrays: what scoring and training compute on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float32, Float64, Int32, Int64, Shaped

from abi.data import text as spelled
from abi.data.label_sets import indicators, read_sets
from abi.data.mentions import mark_all
from abi.errors import SHOWN, DataError, clip, lacking_columns, listed
from abi.media.cells import contents
from abi.media.grid import CODES, Pictures, decode
from abi.media.grid import codes as region_codes
from abi.problem import DatePart, Feature, Pretrained, Schema

MISSING_CODE = -1
FILES = 64
"""Pictures whose files stay beside their vectors."""
KEY_DIGITS = 32
CODE_NAMES = tuple(str(code) for code in range(CODES))

AnyTarget: TypeAlias = Float64[np.ndarray, " rows"] | Int64[np.ndarray, " rows"] | Bool[np.ndarray, "rows labels"]
"""Values, class codes, or which labels a row has."""

Vectors: TypeAlias = Callable[[Pretrained, Sequence[str] | Sequence[bytes]], Float32[np.ndarray, "values dimensions"]]
"""What turns texts, or the files of pictures, into vectors; a picture that cannot be read has NaN."""

_Tabular: TypeAlias = pa.RecordBatch | pa.Table | pd.DataFrame
LONGEST: Final = 8
"""Bytes of a number that Arrow holds."""
SEVERAL: Final = 10
"""Values of which none is a number before a column is taken for another one."""
LARGEST_TARGET: Final = 1e120
"""Of larger values squares, and sums of them over rows, would not be numbers."""


@dataclass(frozen=True)
class Codes:
    """One feature that is not numeric: `codes` index `values`, -1 is missing.

    `vectors` are there where a pretrained encoder was asked for each value's (`with_vectors`). Where it sees pictures, a
    value is the first half of a file's SHA-256, and `files` are those of the first values: of all of them until there are
    vectors, then of a few, by which it is measured how long a prediction takes.
    """

    codes: Int32[np.ndarray, " rows"]
    values: tuple[str, ...]
    vectors: Float32[np.ndarray, "values dimensions"] | None = None
    files: tuple[bytes, ...] = ()

    def take(self, index: Shaped[np.ndarray, " chosen"]) -> Codes:
        """The rows that `index` (numbers or a mask) names, in its order; the values are shared."""
        return replace(self, codes=self.codes[index])


@dataclass(frozen=True)
class Arrays:
    """Rows, encoded as in `Columns`, each numeric feature where it was decoded: nothing is copied to be read once."""

    numeric: tuple[Float64[np.ndarray, " rows"], ...]
    categorical: tuple[Codes, ...]
    target: AnyTarget | None
    row_numbers: Int64[np.ndarray, " rows"]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.row_numbers)

    def take(self, index: Shaped[np.ndarray, " chosen"]) -> Arrays:
        """The rows that `index` (numbers or a mask) names, in its order."""
        return Arrays(
            tuple(values[index] for values in self.numeric),
            tuple(feature.take(index) for feature in self.categorical),
            None if self.target is None else self.target[index],
            self.row_numbers[index],
        )


@dataclass(frozen=True)
class Columns:
    """Rows, encoded. Features are in schema order within `numeric` and within `categorical`.

    Attributes:
        numeric: NaN is missing.
        categorical: all other features: categories, texts, and what each region of a picture shows.
        pictures: one for each of the schema's grids.
        target: class codes (int64), values (float64) or labels (bool); None where it was not asked for.
        row_numbers: where the rows stand in their file.
    """

    numeric: Float64[np.ndarray, "rows numeric"]
    categorical: tuple[Codes, ...]
    target: AnyTarget | None
    row_numbers: Int64[np.ndarray, " rows"]
    pictures: tuple[Pictures, ...] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.row_numbers)

    def take(self, index: Shaped[np.ndarray, " chosen"]) -> Columns:
        """The rows that `index` (numbers or a mask) names, in its order."""
        return Columns(
            self.numeric[index],
            tuple(feature.take(index) for feature in self.categorical),
            None if self.target is None else self.target[index],
            self.row_numbers[index],
            tuple(of_column.take(index) for of_column in self.pictures),
        )

    def arrays(self) -> Arrays:
        """The same rows, each numeric feature as a view."""
        return Arrays(tuple(self.numeric.T), self.categorical, self.target, self.row_numbers)


def encode_arrays(
    data: pa.RecordBatch | pa.Table, schema: Schema, row_numbers: Int64[np.ndarray, " all_rows"]
) -> Arrays:
    """The same as `encode`, with a target and without copying what is float64 already."""
    data, target, numbers = _with_rows(data, schema, row_numbers, with_target=True)
    pictures = {grid.column: decode(_array(data, grid.column), grid) for grid in schema.grids}
    encoded = list(_encoded(data, schema, pictures))
    numeric = tuple(found for found in encoded if not isinstance(found, Codes))
    return Arrays(numeric, tuple(found for found in encoded if isinstance(found, Codes)), target, numbers)


def encode(
    data: _Tabular,
    schema: Schema,
    row_numbers: Int64[np.ndarray, " all_rows"] | None = None,
    with_target: bool = True,
) -> Columns:
    """Numeric features as float64 (NaN = missing), the others as codes, the target as class codes or float64.

    The same values give the same result whatever they came as: 1, 1.0 and "1" are one category, a date may be text.
    Columns that the schema does not name are ignored. Rows whose target is missing are left out where the target is
    asked for; `row_numbers` (0, 1, .. where None) of the result says which stayed.

    Raises:
        DataError: a column is lacking, or the target holds a class that the schema does not know.
    """
    data, target, numbers = _with_rows(data, schema, row_numbers, with_target)
    # column by column, as it is filled here
    numeric = np.empty((len(numbers), sum(f.kind == "numeric" for f in schema.features)), np.float64, order="F")
    categorical: list[Codes] = []
    place = 0
    pictures = {grid.column: decode(_array(data, grid.column), grid) for grid in schema.grids}
    for found in _encoded(data, schema, pictures):
        if isinstance(found, Codes):
            categorical.append(found)
        else:
            numeric[:, place] = found
            place += 1
    return Columns(numeric, tuple(categorical), target, numbers, tuple(pictures.values()))


def columns_of(features: Sequence[Feature]) -> list[str]:
    """The columns that the features are read from, each once, in order."""
    named = (name for feature in features for name in (feature.column, feature.mention) if name is not None)
    return list(dict.fromkeys(named))


def _with_rows(
    data: _Tabular, schema: Schema, row_numbers: Int64[np.ndarray, " all_rows"] | None, with_target: bool
) -> tuple[_Tabular, AnyTarget | None, Int64[np.ndarray, " rows"]]:
    """(the rows that have a target where it is asked for, it, their numbers)."""
    needed = columns_of(schema.features)
    if with_target:
        needed.append(schema.target)
    _expect(needed, data)
    numbers = np.arange(len(data), dtype=np.int64) if row_numbers is None else row_numbers
    if not with_target:
        return data, None, numbers
    target, present = encode_target(_array(data, schema.target), schema)
    if present.all():
        return data, target, numbers
    kept = data.loc[present] if isinstance(data, pd.DataFrame) else data.filter(pa.array(present))
    return kept, target[present], numbers[present]


def _encoded(
    data: _Tabular, schema: Schema, pictures: Mapping[str, Pictures]
) -> Iterator[Float64[np.ndarray, " rows"] | Codes]:
    """Feature after feature; a column that several come from is converted once."""
    last, array = None, None
    shown = {grid.column: region_codes(pictures[grid.column], grid) for grid in schema.grids}
    for feature in schema.features:
        if feature.kind == "region":
            assert feature.place is not None
            yield Codes(np.ascontiguousarray(shown[feature.column][:, feature.place]), CODE_NAMES[: feature.distinct])
            continue
        if feature.column != last:
            last, array = feature.column, _single(_array(data, feature.column), feature.column)
        if feature.of_sight:
            yield _pictured(array, feature.column)
            continue
        if feature.mention is not None:
            yield _codes(mark_all(array, _array(data, feature.mention)))
        elif feature.kind != "numeric":
            yield _codes(array)
        else:
            yield date_part(array, feature.part) if feature.part else _floats(spelled.numbers(array))


def with_vectors(categorical: tuple[Codes, ...], schema: Schema, vectors: Vectors | None) -> tuple[Codes, ...]:
    """The features that are not numeric, those of a pretrained encoder with a vector per value.

    Raises:
        DataError: there is such a feature, and nothing to turn its texts into vectors.
    """
    return _all_with_vectors(categorical, schema, vectors, lambda feature: feature.encoder is not None)


def with_sight(categorical: tuple[Codes, ...], schema: Schema, vectors: Vectors | None) -> tuple[Codes, ...]:
    """The same for those that an encoder makes of pictures alone."""
    return _all_with_vectors(categorical, schema, vectors, lambda feature: feature.of_sight)


def without_vectors(columns: Columns, schema: Schema) -> Columns:
    """The same rows as they come to be predicted, whose texts and pictures are still to be encoded.

    Rows are left out whose pictures' files were not kept.
    """
    others = [feature for feature in schema.features if feature.kind != "numeric"]
    there = np.ones(len(columns), dtype=bool)
    for codes, feature in zip(columns.categorical, others, strict=True):
        if feature.of_sight:
            there &= codes.codes < len(codes.files)
    rows = columns if there.all() else columns.take(there)
    return replace(rows, categorical=tuple(replace(codes, vectors=None) for codes in rows.categorical))


def _all_with_vectors(
    categorical: tuple[Codes, ...], schema: Schema, vectors: Vectors | None, chosen: Callable[[Feature], bool]
) -> tuple[Codes, ...]:
    others = [feature for feature in schema.features if feature.kind != "numeric"]
    if not any(map(chosen, others)):
        return categorical
    return tuple(
        _with_vectors(codes, feature, vectors) if chosen(feature) else codes
        for codes, feature in zip(categorical, others, strict=True)
    )


def _with_vectors(codes: Codes, feature: Feature, vectors: Vectors | None) -> Codes:
    assert feature.encoder is not None
    if codes.vectors is not None:
        return codes
    if vectors is None:
        msg = f"Expected the pretrained encoder of {clip(feature.name)!r}, got none: name its folder in data.encoders."
        raise DataError(msg)
    used, codes_of_used = np.unique(codes.codes, return_inverse=True)
    texts = tuple(codes.values[i] for i in used if i != MISSING_CODE)
    lacking = len(used) - len(texts)  # missing values come first
    found = Codes((codes_of_used - lacking).astype(np.int32), texts)
    if not feature.of_sight:
        return replace(found, vectors=vectors(feature.encoder, texts))
    files = tuple(codes.files[i] for i in used if i != MISSING_CODE)
    return _readable(replace(found, vectors=vectors(feature.encoder, files), files=files))


def _readable(codes: Codes) -> Codes:
    """The same without the pictures that cannot be read, whose rows have none, and with the first few files alone."""
    assert codes.vectors is not None
    good = np.flatnonzero(~np.isnan(codes.vectors).any(axis=1))
    place = np.full(len(codes.values) + 1, MISSING_CODE, np.int32)  # a missing value has code -1: the last entry
    place[good] = np.arange(len(good))
    return Codes(
        place[codes.codes],
        tuple(codes.values[i] for i in good),
        codes.vectors[good],
        tuple(codes.files[i] for i in good[:FILES]),
    )


def encode_target(array: pa.Array, schema: Schema) -> tuple[AnyTarget, Bool[np.ndarray, " rows"]]:
    """(class codes, values or labels, which rows have a target).

    Raises:
        DataError: a class that the schema does not know, or an infinite value.
    """
    if schema.task == "regression":
        values = _floats(spelled.numbers(array))
        if np.isinf(values).any():
            msg = f"Expected finite values in the target {clip(schema.target)!r}, got {int(np.isinf(values).sum())} infinite: mend or remove those rows."
            raise DataError(msg)
        if (np.abs(values) > LARGEST_TARGET).any():
            msg = f"Expected values up to {LARGEST_TARGET:g} in the target {clip(schema.target)!r}, whose squares can be summed, got {np.nanmax(np.abs(values)):g}: take another unit."
            raise DataError(msg)
        return values, ~np.isnan(values)
    if schema.task == "multilabel":
        return _encode_sets(array, schema)
    found = _codes(array)
    place = {name: i for i, name in enumerate(schema.classes)}
    lookup = np.array([*(place.get(value, MISSING_CODE) for value in found.values), MISSING_CODE], np.int64)
    target = lookup[found.codes]
    present = found.codes != MISSING_CODE
    strange = present & (target == MISSING_CODE)
    if strange.any():
        counts = np.bincount(found.codes[strange], minlength=len(found.values))
        raise unknown_classes({found.values[i]: int(counts[i]) for i in np.flatnonzero(counts)}, schema)
    return target, present


def _encode_sets(array: pa.Array, schema: Schema) -> tuple[AnyTarget, Bool[np.ndarray, " rows"]]:
    codes, sets = read_sets(array, schema.separator)
    known = set(schema.classes)
    strange: Counter[str] = Counter()
    for names, rows in zip(sets, np.bincount(codes[codes >= 0], minlength=len(sets)), strict=True):
        strange.update({name: int(rows) for name in names if name not in known and rows})
    if strange:
        raise unknown_classes(dict(strange), schema)
    table = np.vstack([indicators(sets, schema.classes), np.zeros((1, len(schema.classes)), dtype=bool)])
    return table[codes], codes >= 0


def unknown_classes(counts: dict[str, int], schema: Schema) -> DataError:
    """The error for labels that no training row has."""
    named = ", ".join(
        f"{clip(name)!r} ({count} row{'s' if count != 1 else ''})" for name, count in list(counts.items())[:SHOWN]
    )
    more = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
    return DataError(
        f"Expected the target {clip(schema.target)!r} to hold {listed(schema.classes)} as in the training data, got {named}{more}: remove those rows, or add such rows to the training data."
    )


def date_part(array: pa.Array, part: DatePart) -> Float64[np.ndarray, " rows"]:
    """Seconds since 1970 (UTC), month 1-12, weekday 0-6 (0 is Monday) or hour 0-23; NaN where it is missing."""
    stamps = spelled.moments(array)
    if part == "time":
        return _floats(spelled.numbers(stamps))
    taken = {"month": pc.month, "weekday": pc.day_of_week, "hour": pc.hour}[part](stamps)
    return _floats(taken.cast(pa.float64()))


def _expect(needed: Sequence[str], data: _Tabular) -> None:
    names = [*(data.columns if isinstance(data, pd.DataFrame) else data.schema.names)]
    found = Counter(names)
    twice = [name for name in needed if found[name] > 1]
    if twice:
        msg = f"Expected a name of its own for every column, got {listed([clip(name) for name in twice])} more than once: rename them."
        raise DataError(msg)
    lacking = [name for name in needed if name not in found]
    if lacking:
        raise lacking_columns(lacking)


def _array(data: _Tabular, name: str) -> pa.Array:
    if isinstance(data, pd.DataFrame):
        return from_series(data[name])
    column = data.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def from_series(series: pd.Series[Any]) -> pa.Array:
    """Any pandas column as one arrow array; NaN is missing, a mix of types is text.

    Raises:
        DataError: of a type that no column has, as complex numbers.
    """
    if isinstance(series.dtype, pd.SparseDtype):
        series = pd.Series(series.to_numpy(), name=series.name)
    kind = series.dtype
    if isinstance(kind, np.dtype) and kind.kind in "iuf" and (not kind.isnative or kind.itemsize > LONGEST):
        series = series.astype(np.float64 if kind.itemsize > LONGEST else kind.newbyteorder("="))
    try:
        array = pa.array(series, from_pandas=True)
    except pa.ArrowNotImplementedError:  # Arrow has no such type, so nothing is left to be read
        msg = f"Expected numbers, text or times in the column {clip(str(series.name))!r}, got {series.dtype}: turn it into one of them."
        raise DataError(msg) from None
    except UnicodeEncodeError:
        msg = f"Expected text that UTF-8 can hold in the column {clip(str(series.name))!r}, got half of a surrogate pair: read its source again, with the encoding that it has."
        raise DataError(msg) from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # a mix such as 1 and "a", or a number of over 64 bits
        texts = [None if np.ndim(value) == 0 and pd.isna(value) else str(value) for value in series]
        array = pa.array(texts, pa.string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def plainly_named(rows: pd.DataFrame, needed: Collection[str]) -> pd.DataFrame:
    """The same with no blanks around the names of columns that are needed: a CSV's header is read without them."""
    names = {name for name in rows.columns if isinstance(name, str)}
    found = {name: name.strip() for name in names - set(needed) if name.strip() in set(needed) - names}
    return rows.rename(columns=found) if found else rows


def expect_numbers(rows: pd.DataFrame | pa.Table, schema: Schema) -> None:
    """See that new rows have numbers and dates where these are read: anything else is a missing value, a column of it another column.

    Raises:
        DataError: none of the values of a column can be read, of `SEVERAL` or more.
    """
    framed = isinstance(rows, pd.DataFrame)
    names = list(rows.columns) if framed else rows.column_names
    there = set(names)
    read = {f.column: f.part is not None for f in schema.features if f.kind == "numeric" and f.column in there}
    for name in sorted(read) if len(there) == len(names) else ():
        column, dates = rows[name], read[name]
        if framed and column.dtype.kind in ("M" if dates else "iufb"):
            continue
        there = from_series(column.dropna()) if framed else pc.drop_null(column.combine_chunks())
        found = spelled.moments(there) if dates else spelled.numbers(there)
        if len(there) >= SEVERAL and found.null_count == len(there):
            what, remedy = ("dates", "write them as 2026-01-31 or 2026-01-31 10:30:00") if dates else ("numbers", "write numbers with a point")  # fmt: skip
            msg = f"Expected {what} in column {clip(name)!r}, got {clip(str(there[0].as_py()))!r} and the like in all {len(there):,} rows that have a value: {remedy}, or leave them empty."
            raise DataError(msg)


def _single(array: pa.Array, column: str) -> pa.Array:
    """The same, where no row has a list or an object.

    Raises:
        DataError: one has.
    """
    if pa.types.is_nested(array.type) and array.null_count < len(array):
        row = int(np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False))[0]) + 1
        msg = f"Expected one value per row in the column {clip(column)!r}, got {clip(str(array[row - 1].as_py()))} in row {row}: give a number, a text or nothing."
        raise DataError(msg)
    return array


def _floats(values: pa.Array) -> Float64[np.ndarray, " rows"]:
    whole = values.fill_null(np.nan) if values.null_count else values
    return np.asarray(whole.to_numpy(zero_copy_only=False), np.float64)


def _pictured(cells: pa.Array, column: str) -> Codes:
    """The files of a column of pictures, those with the same content once."""
    place: dict[str, int] = {}
    files: list[bytes] = []
    codes = np.full(len(cells), MISSING_CODE, np.int32)
    for row, cell in enumerate(contents(cells, column, "image")):
        data = cell.as_py()
        if not data:
            continue
        codes[row] = place.setdefault(hashlib.sha256(data).hexdigest()[:KEY_DIGITS], len(place))
        if len(place) > len(files):
            files.append(data)
    return Codes(codes, tuple(place), files=tuple(files))


def _codes(array: pa.Array) -> Codes:
    encoded = spelled.labels(array)
    codes = encoded.indices.fill_null(MISSING_CODE) if encoded.null_count else encoded.indices
    return Codes(np.asarray(codes.to_numpy(zero_copy_only=False), np.int32), tuple(encoded.dictionary.to_pylist()))
