"""Data with files beside them -> one Parquet table that holds the files too, so that a snapshot is one file.

=====================================  ========================================================================
given                                  becomes
=====================================  ========================================================================
a table with a column of paths         the same table with the files in that column
a folder or ZIP archive of folders     columns `file` and `label`, the name of the folder that a file lies in
an .npz archive of arrays              a column `picture`, and one per other array (`abi.data.arrays`)
=====================================  ========================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from abi.data.arrays import pictures_of
from abi.data.delimited import CsvFile
from abi.data.files import MOSTLY, SOUNDS, Archive, Files, Folder, is_path
from abi.data.profiling import ColumnReader, ParquetColumn, TextColumn
from abi.data.source import expect_reachable, format_of
from abi.errors import DataError, UsageError, clip
from abi.media.cells import MEDIUM
from abi.reading import DataConfig

ROWS: Final = 1024
"""Rows of files that are held at a time, or fewer where they are large."""
BYTES: Final = 2**26
LOOKED_AT: Final = 256
BESIDE: Final = ("media", "media.zip")
"""Where files are looked for beside a table, after its own folder."""
FILE, LABEL = "file", "label"
_ZIP: Final = b"PK\x03\x04"
_EMPTY_ZIP: Final = b"PK\x05\x06"


def packed(path: Path, config: DataConfig, scratch: Path, name: str = "packed.parquet") -> Path:
    """The file itself where it is a plain table; else a table in `scratch` that holds its files too.

    Args:
        path: what the user gave.
        config: where the files are, which is found beside the table where it is not set; columns whose kind is set
            are left as they are, but for ignored ones with a pretrained encoder.
        scratch: folder for the new table.
        name: of the new table.

    Raises:
        UsageError: there is nothing at `path` or `data.media.folder`, or `path` cannot be reached.
        DataError: it holds nothing that can be learned from, or a path leads out of the folder.
    """
    media = config.media.folder
    if media is not None and not media.exists():
        msg = f"Expected a folder or ZIP archive in data.media.folder, got {media}, which does not exist."
        raise UsageError(msg)
    expect_reachable(path)
    made = scratch / name
    if path.is_dir():
        _write(_labelled(Folder(path), path), made)
        return made
    if path.is_file() and (_begins(path, _ZIP) or _begins(path, _EMPTY_ZIP)):
        archive = Archive(path)
        arrays = [member for member in archive.members if member.endswith(".npy")]
        _write(pictures_of(path) if arrays else _labelled(archive, path), made)
        return made
    if not path.is_file():
        return path
    seen = {name for name, kind in config.columns.items() if kind == "ignore" and name in config.encoders}
    table = _table_of(path, media, set(config.columns) - seen)
    if table is None:
        return path
    _write(table, made)
    return made


@contextmanager
def told_as(made: Path, path: Path) -> Iterator[None]:
    """What is said of a table that was made here is said of what the user gave."""
    try:
        yield
    except (DataError, UsageError) as error:
        if str(made) not in str(error):
            raise
        raise type(error)(str(error).replace(str(made), str(path))) from None


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:  # told where it is read as a table
        return False


def _write(blocks: Iterator[pa.Table], path: Path) -> None:
    writer = None
    try:
        for block in blocks:
            if writer is None:
                files = [f.name for f in block.schema if pa.types.is_large_binary(f.type)]
                writer = pq.ParquetWriter(
                    path,
                    block.schema,
                    compression={n: "none" if n in files else "zstd" for n in block.schema.names},
                    use_dictionary=[n for n in block.schema.names if n not in files],
                    write_page_checksum=True,
                    store_schema=True,
                )
            writer.write_table(block)
    finally:
        if writer is not None:
            writer.close()


def _labelled(files: Files, path: Path) -> Iterator[pa.Table]:
    names = [name for name in files.names() if len(PurePosixPath(name).parts) > 1]
    if not names:
        msg = f"Expected a folder per class with images or sounds in {path}, found none: name a table with a column of paths, or put the files into folders named after their class."
        raise DataError(msg)
    values = pa.array(names)
    schema = pa.schema([_field(FILE, values), pa.field(LABEL, pa.string())])
    for start, contents in _contents({FILE: values}, {FILE: files}, 0):
        some = names[start : start + len(contents[FILE])]
        labels = pa.array([PurePosixPath(name).parent.name for name in some])
        yield pa.Table.from_arrays([contents[FILE], labels], schema=schema)


def _field(name: str, names: pa.Array) -> pa.Field:
    """A column of files; their endings tell what they are meant to be, should none be readable."""
    endings = Counter(PurePosixPath(str(path)).suffix.lower() in SOUNDS for path in names.drop_null().to_pylist())
    medium = "audio" if endings.most_common(1)[0][0] else "image"
    return pa.field(name, pa.large_binary(), metadata={MEDIUM: medium})


def _table_of(path: Path, media: Path | None, settled: set[str]) -> Iterator[pa.Table] | None:
    """The table with its files; None where no column holds paths of files that are there."""
    source = _Blocks(path)
    head = next(source.read(), None)
    if head is None:
        return None
    firsts = {n: v for n, v in zip(source.names, head, strict=True) if n not in settled and _are_paths(v)}
    if not firsts:
        return None
    places = [media] if media is not None else [path.parent, *(path.parent / name for name in BESIDE)]
    found = {name: _holding(places, values, name) for name, values in firsts.items()}
    lacking = [name for name, files in found.items() if files is None]
    if lacking and media is not None:
        msg = f"Expected the files that column {clip(lacking[0])!r} names in {media}, found none of the first ones: correct data.media.folder, or set the column's kind in data.columns."
        raise DataError(msg)
    there = {name: files for name, files in found.items() if files is not None}
    # names of files that nobody has: text like any other
    return source.embedded(there, {name: _field(name, firsts[name]) for name in there}) if there else None


def _are_paths(values: pa.Array) -> bool:
    known = _texts(values.slice(0, LOOKED_AT * 4))
    if known is None:
        return False
    names = [name for name in known if name is not None][:LOOKED_AT]
    return bool(names) and sum(map(is_path, names)) >= MOSTLY * len(names)


def _texts(values: pa.Array) -> list[str | None] | None:
    """Values of any type of text; None where they are something else."""
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    found: list[str | None] | None = values.to_pylist() if text else None
    return found


def _holding(places: Sequence[Path], values: pa.Array, column: str) -> Files | None:
    """The first place that holds one of the first files."""
    names = _texts(values.slice(0, LOOKED_AT * 4)) or []
    for place in places:
        if not place.exists():
            continue
        files: Files = Folder(place) if place.is_dir() else Archive(place)
        if any(_read(files, name, column, row) is not None for row, name in enumerate(names) if name):
            return files
    return None


class _Blocks:
    """A user's table block by block, its columns typed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        form = format_of(path)
        self.csv = None if form == "parquet" else CsvFile(path, compressed=form == "csv.gz")
        if self.csv is not None:
            self.names = tuple(self.csv.names)
            self.columns: list[ColumnReader] = [TextColumn(name, len(self.names)) for name in self.names]
        else:
            from abi.data.convert import ParquetSource  # noqa: PLC0415 - it builds on this package's other files

            self.parquet = ParquetSource(path)
            self.names = self.parquet.names
            self.columns = [ParquetColumn(field, len(self.names)) for field in self.parquet.schema]

    def read(self) -> Iterator[list[pa.Array]]:
        """Typed columns of some rows at a time; Parquet's as they are."""
        if self.csv is None:
            yield from self.parquet.blocks()
            return
        first = 0
        for block in self.csv.blocks():
            yield [c.read(values, first) for c, values in zip(self.columns, block, strict=True)]
            first += len(block[0])

    def embedded(self, files: dict[str, Files], fields: dict[str, pa.Field]) -> Iterator[pa.Table]:
        """All rows with the files in their columns; the types of a CSV file's columns are settled first."""
        if self.csv is not None:
            for _ in self.read():
                pass
            types = [column.arrow_type for column in self.columns]
        else:
            types = [field.type for field in self.parquet.schema]
        schema = pa.schema([fields.get(n, pa.field(n, kind)) for n, kind in zip(self.names, types, strict=True)])
        first = 0
        for block in self.read():
            paths = {name: values for name, values in zip(self.names, block, strict=True) if name in files}
            for start, contents in _contents(paths, files, first):
                rows = len(next(iter(contents.values())))
                arrays = [
                    contents[name] if name in files else values.slice(start, rows)
                    for name, values in zip(self.names, block, strict=True)
                ]
                yield pa.Table.from_arrays(arrays, schema=schema)
            first += len(block[0])


def _contents(
    paths: dict[str, pa.Array], files: dict[str, Files], first: int
) -> Iterator[tuple[int, dict[str, pa.Array]]]:
    """(place, the files of some rows from there on); one that is lacking is an empty file, which is counted as broken."""
    names = {column: _texts(values) or [] for column, values in paths.items()}
    rows = len(next(iter(names.values())))
    held: dict[str, list[bytes | None]] = {column: [] for column in names}
    start = size = 0
    for row in range(rows):
        for column, values in names.items():
            name = values[row]
            content = None if name is None else _read(files[column], name, column, first + row) or b""
            size += len(content or b"")
            held[column].append(content)
        if size >= BYTES or row + 1 - start == ROWS or row + 1 == rows:
            yield start, {column: pa.array(cells, pa.large_binary()) for column, cells in held.items()}
            held, start, size = {column: [] for column in names}, row + 1, 0


def _read(files: Files, name: str, column: str, row: int) -> bytes | None:
    try:
        return files.read(name)
    except DataError as error:
        msg = f"Row {row + 1}, column {clip(column)!r}: {error}"
        raise DataError(msg) from None
