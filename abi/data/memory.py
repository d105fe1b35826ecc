"""Tables that are already in memory (pandas, polars, Arrow, NumPy) -> canonical table, problem and rows, without files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from abi.data.columns import AnyTarget, Vectors, encode_target, from_series
from abi.data.convert import SAMPLE_CELLS, SAMPLE_ROWS, Sampler, rows_for
from abi.data.derive import ask_derivation, open_problem
from abi.data.infer import LEAST_ROWS, derived_schema, infer_schema
from abi.data.media import MediaColumn, medium_of, with_codebooks
from abi.data.mirrors import with_mirrors
from abi.data.order import choose_split
from abi.data.profiling import ColumnReader, ParquetColumn
from abi.data.reader import Reader
from abi.data.split import ROLES, roles
from abi.data.table import ROW, ColumnProfile, Profile
from abi.errors import DataError, listed
from abi.media.cells import holds_files
from abi.problem import DataFile, Problem, Schema, Snapshot, Split

if TYPE_CHECKING:
    from abi.config import Config

BLOCK_ROWS: Final = 65_536
SPLITS: Final = 100
"""Seeds tried for a split that leaves nothing out; a small table may need a few."""
_THREADS: Final = 2
_THREADED_ROWS: Final = 8_192


@dataclass(frozen=True)
class MemoryTable:
    """A canonical table in memory: what `abi.data.table.Table` is on disk."""

    data: pa.Table
    profile: Profile
    sampled: pa.Table

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.profile.rows

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(column.name for column in self.profile.columns)

    def column(self, name: str) -> ColumnProfile:
        """The profile of one column."""
        return self.profile.columns[self.names.index(name)]

    def batches(
        self,
        columns: Sequence[str] | None = None,
        batch_rows: int = BLOCK_ROWS,
        part: range | None = None,
        encoded: Sequence[str] = (),  # noqa: ARG002 - what is in memory comes as it is
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(first row number, batch) over all rows, or over those numbered in `part`, in order.

        A batch may be shorter than `batch_rows`.
        """
        chosen = self.data.select(list(self.names if columns is None else columns))
        first = 0 if part is None else max(0, part.start)
        if part is not None:
            chosen = chosen.slice(first, max(0, min(self.rows, part.stop) - first))
        for batch in chosen.to_batches(batch_rows):
            yield first, batch
            first += batch.num_rows

    def sample(
        self,
        columns: Sequence[str] | None = None,
        encoded: Sequence[str] = (),  # noqa: ARG002 - what is in memory comes as it is
    ) -> pa.Table:
        """At most 65,536 rows (fewer in very wide tables), chosen by a hash, with their row numbers in `__row`."""
        return self.sampled if columns is None else self.sampled.select([*columns, ROW])


def to_arrow(data: object, names: Sequence[str] | None = None) -> pa.Table:
    """A table of any library as Arrow, column by column; names become text.

    Args:
        data: pandas or polars frame, Arrow table or batch, whatever speaks Arrow's C stream, or a 2-d NumPy array.
        names: of the columns, in order; those of `data` where None (x0, x1, .. for an array).

    Raises:
        DataError: it is no table, or two columns have the same name.
    """
    if isinstance(data, pd.DataFrame):
        found = [str(name) for name in data.columns]
        columns = [from_series(data.iloc[:, i]) for i in range(data.shape[1])]
    elif isinstance(data, np.ndarray):
        if data.ndim != 2:  # noqa: PLR2004 - rows and columns
            msg = f"Expected a table of two dimensions, got an array of {data.ndim}: reshape it to (rows, columns)."
            raise DataError(msg)
        found = [f"x{i}" for i in range(data.shape[1])]
        columns = [from_series(pd.Series(data[:, i])) for i in range(data.shape[1])]
    else:
        table = _streamed(data)
        found, columns = table.column_names, table.columns
    found = list(names) if names is not None else found
    twice = sorted({name for name in found if found.count(name) > 1}) if len(set(found)) < len(found) else []
    if twice:
        msg = f"Expected a name of its own for every column, got {listed(twice)} more than once: rename them."
        raise DataError(msg)
    if ROW in found:
        msg = f"Expected no column named {ROW!r}, which rows are numbered by, got one: rename it."
        raise DataError(msg)
    return pa.table(columns, names=found)


def hold(data: pa.Table) -> MemoryTable:
    """Bring an Arrow table into the canonical types and profile it, as `abi.data.convert` does with files."""
    readers = [
        _reader(field, column, data.num_columns) for field, column in zip(data.schema, data.columns, strict=True)
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        # short columns cost more in handing over than threads save
        over = pool.map if data.num_rows >= _THREADED_ROWS else map
        arrays = list(over(_canonical, readers, data.columns))
        profile = Profile(rows=data.num_rows, columns=tuple(over(_profile, readers)))
    canonical = pa.table(arrays, names=data.column_names)
    sampler = Sampler(rows_for(data.num_columns, SAMPLE_ROWS, SAMPLE_CELLS))
    first = 0
    for batch in canonical.to_batches(BLOCK_ROWS):
        sampler.add(first, batch)
        first += batch.num_rows
    return MemoryTable(canonical, profile, sampler.table())


def read_memory(
    data: object,
    target: str,
    config: Config,
    test: object | None = None,
    *,
    least_rows: int = LEAST_ROWS,
    vectors: Vectors | None = None,
) -> Reader:
    """The problem that a table in memory poses, and a reader of its rows: `.problem`, `.load("train")`.

    All rows of `data` are for training and validation; `test`, where there is one, is for the final figures. Columns
    that came as categories (pandas, polars, Arrow dictionaries) stay categories, whatever they hold.

    Args:
        data: what `to_arrow` takes, with the target among its columns.
        target: the column to be learned.
        config: kinds, task, shares and seed.
        test: a table of the same columns.
        least_rows: rows with a target that it takes.
        vectors: turns texts and pictures into vectors, where the settings name a pretrained encoder.

    Raises:
        DataError: the data cannot be used as asked.
        UsageError: `target` or a setting does not fit the data.
    """
    arrow = to_arrow(data)
    if not arrow.num_rows:
        msg = "Expected rows in the table, got none: give the rows to learn from."
        raise DataError(msg)
    train = hold(arrow)
    held_out = None if test is None else hold(to_arrow(test))
    settings = config.data.model_copy(update={"columns": {**_categories(arrow, target), **config.data.columns}})
    schema = infer_schema(train, target, settings, held_out, least_rows=least_rows, learn=False)
    derivation = ask_derivation(settings, train, target, schema)
    files = [_described(train, "train")] + ([] if held_out is None else [_described(held_out, "test")])
    split = choose_split(config, train, held_out, whole=True)
    if not split.order:
        split = _split(train, schema, config)
    if derivation is not None:
        schema = derived_schema(derivation, schema, split, settings, train, held_out, least_rows=least_rows)
    schema = with_codebooks(schema, train, split)
    problem = Problem(snapshot=Snapshot(files=tuple(files)), schema=schema, split=split)
    problem = with_mirrors(problem, train, settings.media)
    return replace(open_problem(problem, train, held_out), vectors=vectors)


def hash_table(table: MemoryTable) -> tuple[str, str, int]:
    """(SHA-256, MD5, bytes) of names, types and values, column by column in blocks of 65,536 rows.

    Per block: which values are there (packed bits), then the values with zeros for those that are not; text as its
    lengths and its UTF-8, files as their lengths and bytes. So the hash does not depend on the library, its buffers or its chunks.
    """
    sha256, md5, size_bytes = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for name, column in zip(table.data.column_names, table.data.columns, strict=True):
        for part in (f"{name}\0{column.type}\0{len(column)}\0".encode(), *_value_bytes(column)):
            sha256.update(part)
            md5.update(part)
            size_bytes += len(part)
    return sha256.hexdigest(), md5.hexdigest(), size_bytes


def _value_bytes(column: pa.ChunkedArray) -> Iterator[bytes]:
    for start in range(0, len(column), BLOCK_ROWS):
        block = _whole(column.slice(start, BLOCK_ROWS))
        yield np.packbits(np.asarray(block.is_valid())).tobytes()
        if pa.types.is_string(block.type):
            text = block.fill_null("")
            yield np.asarray(pc.binary_length(text), np.int32).tobytes()
            yield "".join(text.to_pylist()).encode()
            continue
        if pa.types.is_large_binary(block.type):
            files = block.fill_null(b"")
            yield np.asarray(pc.binary_length(files), np.int64).tobytes()
            yield from (cell.as_py() for cell in files)
            continue
        plain = block.cast(pa.int64()) if pa.types.is_timestamp(block.type) else block
        yield np.asarray(plain.fill_null(False if pa.types.is_boolean(plain.type) else 0)).tobytes()


def _described(table: MemoryTable, role: Literal["train", "test"]) -> DataFile:
    sha256, md5, size_bytes = hash_table(table)
    return DataFile(role=role, format="memory", md5=md5, sha256=sha256, size_bytes=size_bytes, rows=table.rows)


def _streamed(data: object) -> pa.Table:
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(cast("Any", data))
    msg = f"Expected a table (pandas, polars, Arrow or a 2-d NumPy array), got {type(data).__name__}: convert it first."
    raise DataError(msg)


def _reader(field: pa.Field, column: pa.ChunkedArray, columns: int) -> ColumnReader:
    medium = medium_of(column.chunks) if holds_files(field.type) else None
    return ParquetColumn(field, columns) if medium is None else MediaColumn(field.name, medium)


def _profile(reader: ColumnReader) -> ColumnProfile:
    return reader.profile()


def _canonical(reader: ColumnReader, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """All blocks in the stored type; read again where a late block changed it."""
    blocks = [(start, _whole(column.slice(start, BLOCK_ROWS))) for start in range(0, len(column), BLOCK_ROWS)]
    before = reader.arrow_type
    arrays = [reader.read(block, first) for first, block in blocks]
    if reader.arrow_type != before:  # the type is known now
        reader.restart()
        arrays = [reader.read(block, first) for first, block in blocks]
    return pa.chunked_array(arrays, reader.arrow_type)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)


def _categories(arrow: pa.Table, target: str) -> dict[str, str]:
    """Columns that came as categories."""
    held = [field.name for field in arrow.schema if pa.types.is_dictionary(field.type)]
    return {name: "categorical" for name in held if name != target}


def _split(table: MemoryTable, schema: Schema, config: Config) -> Split:
    """The configured split, with the first seed from the configured one on that leaves no part empty and no class untaught.

    The configured seed serves on all but small tables.
    """
    parts = [encode_target(b.column(0), schema) for _, b in table.batches([schema.target])]
    target, present = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    numbers = np.flatnonzero(present).astype(np.int64)
    taught = _taught(target[present], schema)

    def left_out(split: Split) -> int:
        train, validation = (roles(numbers, split) == ROLES.index(name) for name in ("train", "validation"))
        untaught = len(taught(slice(None))) - len(taught(train))
        return untaught + len(numbers) * (int(not train.any()) + int(not validation.any()))

    best = Split(seed=config.seed, validation=config.data.validation, test=0.0)
    least = left_out(best)
    for i in range(1, SPLITS):
        if not least:
            break
        split = replace(best, seed=config.seed + i)
        lacking = left_out(split)
        if lacking < least:
            best, least = split, lacking
    return best


def _taught(target: AnyTarget, schema: Schema) -> Callable[[Any], Int64[np.ndarray, " classes"]]:
    """Rows -> the classes or labels that they show; one for a target of numbers."""
    if schema.task == "multilabel":
        return lambda rows: np.flatnonzero(target[rows].any(axis=0))
    codes = np.zeros(len(target), np.int64) if schema.task == "regression" else target.astype(np.int64)
    return lambda rows: np.unique(codes[rows])
