"""Raw file -> canonical table, in one streaming pass (two where a column changes its type on the way)."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from abi.data.delimited import CsvFile, expect_names
from abi.data.media import MediaColumn, medium_of
from abi.data.profiling import ColumnReader, ParquetColumn, TextColumn
from abi.data.scratch import scratch_folder
from abi.data.source import format_of
from abi.data.split import splitmix64
from abi.data.table import (
    FILE_BYTES,
    ROW,
    Profile,
    Table,
    open_table,
    profile_path,
    rows_of_files,
    sample_path,
)
from abi.errors import DataError, WorkspaceError
from abi.media.cells import MEDIUM, holds_files

GROUP_ROWS = 65_536
SAMPLE_ROWS = 65_536

FILE_ROWS = 4_096
"""Rows of files that are held at a time, or fewer where they are large."""
FILE_SAMPLE_ROWS = 8_192
FILE_SAMPLE_BYTES = 2**29
_LEAST_FILES = 256
HEAD_ROWS = 64

_GROUP_CELLS = 16_000_000
SAMPLE_CELLS = 32_000_000
_LEAST_ROWS = 2_048
_SAMPLE_SEED = 2**40  # beyond any seed of a split
_THREADS = 2
_THREADED_ROWS = 8_192
_LOOKED_AT = 4_096
_DISTINCT_SHARE = 0.9


@runtime_checkable
class Source(Protocol):
    """A raw file as columns."""

    names: tuple[str, ...]

    def blocks(self) -> Iterator[list[pa.Array]]:
        """Columns of some rows at a time."""


class ParquetSource:
    """A Parquet file of the user's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._readable(), pq.ParquetFile(path) as file:
            self.schema = file.schema_arrow
            self.names = tuple(self.schema.names)
            rows = file.metadata.num_rows
        expect_names(self.names, path)
        if not rows:
            msg = f"Expected rows in {path}, found none: check how the file was written."
            raise DataError(msg)

    def blocks(self) -> Iterator[list[pa.Array]]:
        """Columns of some rows at a time."""
        with self._readable(), pq.ParquetFile(self.path, page_checksum_verification=True, pre_buffer=False) as file:
            files = [field.name for field in self.schema if holds_files(field.type)]
            rows = rows_for(len(self.names), GROUP_ROWS, _GROUP_CELLS)
            if files:
                rows = rows_of_files(file.metadata, files, FILE_ROWS)
            for batch in file.iter_batches(rows):
                yield batch.columns

    def file_rows(self, names: Sequence[str], most: int, most_bytes: int = FILE_BYTES) -> int:
        """How many rows of those columns of files have so many bytes."""
        with self._readable(), pq.ParquetFile(self.path, pre_buffer=False) as file:
            return rows_of_files(file.metadata, names, most, most_bytes)

    def some(self, name: str) -> Iterator[pa.Array]:
        """Cells of a column from its beginning, as many as are asked for."""
        with self._readable(), pq.ParquetFile(self.path, pre_buffer=False) as file:
            for batch in file.iter_batches(HEAD_ROWS, columns=[name]):
                yield batch.column(0)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            msg = f"Expected readable Parquet in {self.path}, got: {reason.rstrip('.')}: write or copy the file again."
            raise DataError(msg) from None


def table_name(sha256: str, texts: Collection[str] = ()) -> str:
    """What a file's table is called where these columns are read as text."""
    return f"{sha256}-{hashlib.sha256(json.dumps(sorted(texts)).encode()).hexdigest()[:16]}" if texts else sha256


def convert(source: Path, folder: Path, sha256: str, texts: Collection[str] = ()) -> Table:
    """Write .parquet, .sample.parquet and .profile.json of `table_name` into a folder; reuse what is there.

    Memory stays flat: a few blocks of rows and the sample are held at a time.

    Args:
        source: CSV (plain or gzip) or Parquet, whatever its name.
        folder: where the three files go; each appears whole or not at all.
        sha256: the hash of `source`'s content, which the files are named by.
        texts: columns of a CSV that are text whatever they hold.

    Raises:
        UsageError: there is no such file.
        DataError: it cannot be read as a table.
        WorkspaceError: the folder cannot be written.
    """
    try:
        return open_table(folder, table_name(sha256, texts))
    except WorkspaceError:
        pass
    kind = format_of(source)
    raw: Source
    if kind == "parquet":
        raw = parquet = ParquetSource(source)
        columns: list[ColumnReader] = [_reader(field, parquet) for field in parquet.schema]
    else:
        raw = CsvFile(source, compressed=kind == "csv.gz")
        columns = [TextColumn(name, len(raw.names), text=name in texts) for name in raw.names]
    path = folder / f"{table_name(sha256, texts)}.parquet"
    with _writable(folder), scratch_folder(_made(folder)) as scratch:
        new = scratch / path.name
        sizes = _sizes(raw, columns)
        rows = _written(raw, columns, new, *sizes)
        if rows is None:  # the types are known now
            for column in columns:
                column.restart()
            rows = _written(raw, columns, new, *sizes)
        assert rows is not None
        profile = Profile(rows=rows, columns=tuple(column.profile() for column in columns))
        profile_path(new).write_bytes(profile.canonical())
        for made, kept in ((sample_path(new), sample_path(path)), (profile_path(new), profile_path(path)), (new, path)):
            made.replace(kept)
    return Table(path, profile)


def _reader(field: pa.Field, parquet: ParquetSource) -> ColumnReader:
    """What reads that column: files where its first cells are some, else plain values."""
    if holds_files(field.type):
        medium = medium_of(parquet.some(field.name), (field.metadata or {}).get(MEDIUM))
        if medium is not None:
            return MediaColumn(field.name, medium)
    return ParquetColumn(field, len(parquet.names))


def _sizes(raw: Source, columns: Sequence[ColumnReader]) -> tuple[int, int]:
    """(rows of the sample, rows of a row group)."""
    files = [column.name for column in columns if isinstance(column, MediaColumn)]
    if not files:
        return rows_for(len(columns), SAMPLE_ROWS, SAMPLE_CELLS), rows_for(len(columns), GROUP_ROWS, _GROUP_CELLS)
    assert isinstance(raw, ParquetSource)
    return max(_LEAST_FILES, raw.file_rows(files, FILE_SAMPLE_ROWS, FILE_SAMPLE_BYTES)), raw.file_rows(files, FILE_ROWS)


def _written(raw: Source, columns: Sequence[ColumnReader], path: Path, sampled: int, group_rows: int) -> int | None:
    """Write the table and its sample; None (and only the types settled) where a type changed after rows were written."""
    rows, writer, sampler = 0, None, Sampler(sampled)
    pending: list[pa.RecordBatch] = []
    schema: pa.Schema | None = None
    changed = False

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for block in raw.blocks():
                first = rows
                # short columns cost more in handing over than threads save
                over = pool.map if len(block[0]) >= _THREADED_ROWS else map
                arrays = list(over(lambda column, values: column.read(values, first), columns, block))  # noqa: B023
                rows += len(block[0])
                now = pa.schema([pa.field(column.name, column.arrow_type) for column in columns])
                changed = changed or (schema is not None and now != schema)
                schema = now
                if changed:
                    continue
                batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
                sampler.add(first, batch)
                if writer is None:
                    writer = _writer(path, batch)
                pending.append(batch)
                pending = _flush(writer, pending, group_rows)
            if not rows:
                msg = "Expected rows below the header, found none: check how the file was written."
                raise DataError(msg)
            if changed:
                return None
            assert writer is not None
            _flush(writer, pending, group_rows, last=True)
        finally:
            if writer is not None:
                writer.close()
    sample = sampler.table()
    with _writer(sample_path(path), sample, packed=False) as small:
        small.write_table(sample, row_group_size=group_rows)
    return rows


def _flush(
    writer: pq.ParquetWriter, pending: list[pa.RecordBatch], group_rows: int, *, last: bool = False
) -> list[pa.RecordBatch]:
    """Write whole row groups (all that is left where it is the `last` time); the rest comes back."""
    total = sum(batch.num_rows for batch in pending)
    whole = total if last else total - total % group_rows
    if not whole:
        return pending
    table = pa.Table.from_batches(pending)
    writer.write_table(table.slice(0, whole), row_group_size=group_rows)
    left: list[pa.RecordBatch] = table.slice(whole).to_batches()
    return left


def _writer(path: Path, data: pa.RecordBatch | pa.Table, packed: bool = True) -> pq.ParquetWriter:
    """A writer of tables like `data`.

    Numbers that hardly repeat have their bytes written in streams, the first bytes of all values and so on: as a
    dictionary they take a third more space and twice the time to read. Where they are not `packed`, they are written
    as they are, a tenth longer and read in half the time.
    """
    names = data.schema.names
    spread = {name for i, name in enumerate(names) if _hardly_repeats(data.column(i)[:_LOOKED_AT])}
    return pq.ParquetWriter(
        path,
        data.schema,
        compression={name: "none" if name in spread and not packed else "zstd" for name in names},
        compression_level={name: 1 for name in names if packed or name not in spread},
        write_page_checksum=True,
        use_dictionary=[name for name in names if name not in spread],
        use_byte_stream_split=[name for name in names if name in spread] if packed else False,
    )


def _hardly_repeats(values: pa.Array | pa.ChunkedArray) -> bool:
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind)):
        return False
    return bool(pc.count_distinct(values).as_py() > _DISTINCT_SHARE * len(values))


class Sampler:
    """Keeps the rows with the smallest hashes: the same ones in whatever blocks they come."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.kept: list[pa.RecordBatch] = []
        self.numbers = np.empty(0, np.int64)
        self.ceiling = np.uint64(2**64 - 1)

    def add(self, first: int, batch: pa.RecordBatch) -> None:
        """Take in the rows from number `first` on."""
        numbers = np.arange(first, first + batch.num_rows, dtype=np.int64)
        chosen = splitmix64(numbers, _SAMPLE_SEED) <= self.ceiling
        self.kept.append(batch if chosen.all() else batch.filter(pa.array(chosen)))
        self.numbers = np.concatenate([self.numbers, numbers[chosen]])
        if len(self.numbers) > 2 * self.limit:
            self._shrink()

    def _shrink(self) -> None:
        hashes = splitmix64(self.numbers, _SAMPLE_SEED)
        self.ceiling = np.partition(hashes, self.limit - 1)[self.limit - 1]
        chosen = hashes <= self.ceiling
        small = pa.Table.from_batches(self.kept).filter(pa.array(chosen)).combine_chunks()
        self.kept = small.to_batches()
        self.numbers = self.numbers[chosen]

    def table(self) -> pa.Table:
        """The sample, with the row numbers in `__row`."""
        if len(self.numbers) > self.limit:
            self._shrink()
        table = pa.Table.from_batches(self.kept)
        return table.append_column(ROW, pa.array(self.numbers))


def rows_for(columns: int, rows: int, cells: int) -> int:
    """`rows`, or fewer where that many of so many columns are more than `cells`."""
    return max(_LEAST_ROWS, min(rows, cells // max(columns, 1)))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "choose another workspace"
        msg = f"Expected to write {folder}, got: {error.strerror or error}; {remedy} and run again."
        raise WorkspaceError(msg) from None
