"""The canonical table: Parquet with page checksums, its sample and its profile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq

from abi.errors import AbiError, WorkspaceError
from abi.problem import Medium
from abi.values import Late, Value

ColumnType = Literal["integer", "float", "boolean", "string", "timestamp", "list", "media", "other"]
ROW = "__row"
VERSION = 1
FILE_BYTES = 2**27
"""Of files that are held at a time."""


@dataclass(frozen=True, kw_only=True)
class MediaProfile(Value):
    """What the files of a media column hold.

    Attributes:
        medium: what they are.
        broken: files that cannot be read; their cells are nulls.
        first_broken: the first of those with its row, in words.
        shapes: different sizes or sample rates.
        several: sounds of more than one channel.
        channels: 3 where some picture has colours, else 1.
        height: most frequent one in pixels; mel bands of sounds.
        width: most frequent one in pixels; frames of sounds.
        rate: most frequent samples per second.
        seconds: length that 95% of the sounds do not exceed.
    """

    medium: Medium
    broken: int
    first_broken: str
    shapes: int
    several: int
    channels: int
    height: int
    width: int
    rate: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class ColumnProfile(Value):
    """What one column holds, over all rows.

    Attributes:
        name: the column.
        type: what it is stored as; "list" has lists of labels, kept as text (`abi.data.label_sets`), "media" are files, "other" is
            another nested or a binary column, which is not kept (its values are nulls).
        nulls: missing values.
        non_finite: infinite values.
        not_numbers: values that are not numbers in a column of text where at least 80% are (0 in all others).
        example: the first of those with its row, or the type of a "list" or "other" column.
        minimum: least finite value (numbers only).
        maximum: largest finite value.
        distinct: distinct values; exact up to 100,000 (fewer in tables of more than 200 columns), estimated above.
        media: what the files of a media column hold.
    """

    name: str
    type: ColumnType
    nulls: int = 0
    non_finite: int = 0
    not_numbers: int = 0
    example: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    distinct: int = 0
    media: Late[MediaProfile | None] = None


@dataclass(frozen=True, kw_only=True)
class Profile(Value):
    """What the table holds. `version` is that of the canonical form."""

    rows: int
    columns: tuple[ColumnProfile, ...]
    version: int = VERSION


@runtime_checkable
class Tabular(Protocol):
    """A canonical table, wherever it lies: a file (`Table`) or memory (`abi.data.memory.MemoryTable`)."""

    @property
    def profile(self) -> Profile:
        """What its columns hold."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""

    def column(self, name: str) -> ColumnProfile:
        """The profile of one column."""

    def batches(
        self,
        columns: Sequence[str] | None = None,
        batch_rows: int = 65_536,
        part: range | None = None,
        encoded: Sequence[str] = (),
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(first row number, batch) over all rows, or over those numbered in `part`, in order.

        Columns in `encoded` may come as dictionaries, with values that the batch does not hold among them.
        """

    def sample(self, columns: Sequence[str] | None = None, encoded: Sequence[str] = ()) -> pa.Table:
        """Rows chosen by a hash, with their row numbers in `__row`; `encoded` as in `batches`."""


@dataclass(frozen=True)
class Table:
    """A canonical table on disk."""

    path: Path
    profile: Profile

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.profile.rows

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in file order."""
        return tuple(column.name for column in self.profile.columns)

    def column(self, name: str) -> ColumnProfile:
        """The profile of one column."""
        return self.profile.columns[self.names.index(name)]

    def batches(
        self,
        columns: Sequence[str] | None = None,
        batch_rows: int = 65_536,
        part: range | None = None,
        encoded: Sequence[str] = (),
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(first row number, batch) over all rows, or over those numbered in `part`, in order.

        A batch may be shorter than `batch_rows`. Row groups outside `part` are not read. Columns of text in `encoded`
        come as dictionaries, of all values in their row group: three times as fast as text.

        Raises:
            WorkspaceError: the file is gone or damaged (its page checksums are verified).
        """
        names = list(self.names if columns is None else columns)
        asked = range(self.rows) if part is None else range(max(0, part.start), min(self.rows, part.stop))
        read = 0
        try:
            with pq.ParquetFile(
                self.path, page_checksum_verification=True, pre_buffer=False, read_dictionary=list(encoded)
            ) as file:
                if file.metadata.num_rows != self.rows:
                    raise _damaged(self.path, f"{file.metadata.num_rows} rows of {self.rows}")
                groups, first = _groups_of(file.metadata, asked)
                files = [c.name for c in self.profile.columns if c.type == "media" and c.name in names]
                batch_rows = rows_of_files(file.metadata, files, batch_rows) if files else batch_rows
                for batch in file.iter_batches(batch_rows, row_groups=groups, columns=names):
                    begin, end = max(asked.start - first, 0), min(asked.stop - first, batch.num_rows)
                    if begin < end:
                        yield first + begin, batch.select(names).slice(begin, end - begin)
                        read += end - begin
                    first += batch.num_rows
        except (OSError, pa.ArrowInvalid) as error:
            raise _damaged(self.path, error) from None
        if read != len(asked):
            raise _damaged(self.path, f"{read} rows of {len(asked)}")

    def sample(self, columns: Sequence[str] | None = None, encoded: Sequence[str] = ()) -> pa.Table:
        """At most 65,536 rows (fewer in very wide tables), chosen by a hash, with their row numbers in `__row`.

        Raises:
            WorkspaceError: the file is gone or damaged.
        """
        path = sample_path(self.path)
        try:
            chosen = None if columns is None else [*columns, ROW]
            with pq.ParquetFile(
                path, page_checksum_verification=True, pre_buffer=False, read_dictionary=list(encoded)
            ) as file:
                return file.read(chosen)
        except (OSError, pa.ArrowInvalid) as error:
            raise _damaged(path, error) from None


def _groups_of(metadata: pq.FileMetaData, rows: range) -> tuple[list[int], int]:
    """(the row groups that hold `rows`, the number of the first row in them)."""
    groups: list[int] = []
    first = start = 0
    for group in range(metadata.num_row_groups):
        stop = start + metadata.row_group(group).num_rows
        if start < rows.stop and rows.start < stop:
            first = first if groups else start
            groups.append(group)
        start = stop
    return groups, first


def rows_of_files(metadata: pq.FileMetaData, columns: Sequence[str], most: int, most_bytes: int = FILE_BYTES) -> int:
    """How many rows have so many bytes in those columns, at most `most`."""
    size = 0
    for group in range(metadata.num_row_groups):
        chunks = map(metadata.row_group(group).column, range(metadata.num_columns))
        size += sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] in columns)
    return int(max(1, min(most, most_bytes * metadata.num_rows // max(1, size))))


def sample_path(path: Path) -> Path:
    """Where the sample of the table at `path` is kept."""
    return path.with_suffix(".sample.parquet")


def profile_path(path: Path) -> Path:
    """Where the profile of the table at `path` is kept."""
    return path.with_suffix(".profile.json")


def open_table(folder: Path, sha256: str) -> Table:
    """The table that `convert` wrote.

    Raises:
        WorkspaceError: it is not there, or damaged.
    """
    path = folder / f"{sha256}.parquet"
    if not (path.is_file() and sample_path(path).is_file()):
        raise _damaged(path, "no such file")
    try:
        profile = Profile.from_json(json.loads(profile_path(path).read_text("utf-8")))
    except (OSError, ValueError, AbiError) as error:
        raise _damaged(profile_path(path), error) from None
    if profile.version != VERSION:
        raise _damaged(profile_path(path), f"version {profile.version} of the form, not {VERSION}")
    return Table(path, profile)


def _damaged(path: Path, cause: object) -> WorkspaceError:
    reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    return WorkspaceError(
        f"Expected a readable table at {path}, got: {reason}. Delete it and run again from the raw file."
    )
