"""CSV: header, delimiter, and a stream of blocks of text."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from abi.data.text import MISSING
from abi.errors import DataError, clip, listed

DELIMITERS = (",", ";", "\t", "|")

_BLOCK_BYTES = 4 * 2**20
_BLOCK_BYTES_PER_COLUMN = 8 * 2**10  # wide rows in larger blocks: each column costs the same few calls per block
_LARGEST_BLOCK_BYTES = 64 * 2**20
_HEADER_BYTES = 256 * 2**20
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_RAGGED = re.compile(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", re.DOTALL)


@dataclass(frozen=True)
class Header:
    """The first row. `written` are its names with the blanks around them; `lines_above` are blank lines before it."""

    names: tuple[str, ...]
    written: tuple[str, ...]
    delimiter: str
    lines_above: int
    size_bytes: int


class CsvFile:
    """A CSV file, plain or gzip, whose values are read as text, with the usual spellings of a missing value as nulls."""

    def __init__(self, path: Path, *, compressed: bool) -> None:
        self.path = path
        self.compressed = compressed
        self.header = self._header()
        self.names = self.header.names

    def blocks(self) -> Iterator[list[pa.Array]]:
        """Columns of a few MiB of rows at a time.

        Raises:
            DataError: a row has too many or too few values, or the file is damaged or not UTF-8.
        """
        last: list[pa.Array] = []
        try:
            for batch in self._stream(threads=True):
                if batch.num_rows:
                    last = batch.columns
                    yield last
        except (pa.ArrowInvalid, OSError) as error:
            raise self._explained(error) from None
        if last and any("\n" in (column[-1].as_py() or "") for column in last):
            self._expect_closed_quotes()

    def _stream(self, *, threads: bool) -> pacsv.CSVStreamingReader:
        names = [str(i) for i in range(len(self.names))]
        source: object = str(self.path)
        if self.compressed:
            source = pa.CompressedInputStream(pa.OSFile(str(self.path)), "gzip")
        return pacsv.open_csv(
            source,
            pacsv.ReadOptions(
                column_names=names,
                skip_rows_after_names=self.header.lines_above + 1,
                block_size=self._block_bytes,
                use_threads=threads,
            ),
            pacsv.ParseOptions(delimiter=self.header.delimiter, newlines_in_values=True),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=list(MISSING), strings_can_be_null=True
            ),
        )

    @property
    def _block_bytes(self) -> int:
        wide = min(_BLOCK_BYTES_PER_COLUMN * len(self.names), _LARGEST_BLOCK_BYTES)
        return max(_BLOCK_BYTES, wide, 2 * self.header.size_bytes)

    def _open(self) -> gzip.GzipFile | io.BufferedReader:
        return gzip.open(self.path) if self.compressed else self.path.open("rb")

    def _header(self) -> Header:
        above, text = 0, ""
        try:
            with self._open() as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as file:
                while line := file.readline(_HEADER_BYTES):
                    if not text and not line.strip("\r\n"):
                        above += 1
                        continue
                    text += line
                    if text.count('"') % 2 == 0:
                        break
                more = False
                while not more and (block := file.read(2**16)):
                    more = bool(block.strip())
        except UnicodeDecodeError:
            raise self._not_utf8() from None
        except (EOFError, OSError) as error:
            raise self._explained(error) from None
        if not text.strip():
            msg = f"Expected a header and rows in {self.path}, got blank lines: save the table again."
            raise DataError(msg)
        bare = _QUOTED.sub("", text)
        delimiter = max(DELIMITERS, key=bare.count)
        written = tuple(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)))
        names = tuple(name.strip() for name in written)
        expect_names(names, self.path)
        if not more:
            msg = f"Expected rows below the header of {self.path}, found none: check how the file was written."
            raise DataError(msg)
        return Header(names, written, delimiter, above, len(text.encode()))

    def _explained(self, error: Exception) -> DataError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "UTF8" in reason:
            return self._not_utf8()
        if "compressed" in reason.lower() or "zlib" in reason or "gzip" in reason or isinstance(error, EOFError):
            return DataError(
                f"Expected a whole gzip file, got {self.path}, which is cut off or damaged: copy it again from its source."
            )
        if _RAGGED.search(reason):
            return self._ragged()
        if "straddling" in reason:
            return DataError(
                f"Expected rows of at most {self._block_bytes >> 20} MiB in {self.path}, got a longer one: close the quotation mark that is left open."
            )
        return DataError(f"Expected readable CSV in {self.path}, got: {clip(reason, 200)}.")

    def _ragged(self) -> DataError:
        # only reading without threads tells the row number
        try:
            for _ in self._stream(threads=False):
                pass
        except pa.ArrowInvalid as error:
            found = _RAGGED.search(str(error))
            if found and found[1]:
                return DataError(
                    f"Expected {found[2]} values in each row of {self.path}, got {found[3]} in row {found[1]} (the header is row 1): mend that row, or quote values that hold {self.header.delimiter!r}."
                )
        return DataError(
            f"Expected {len(self.names)} values in each row of {self.path}, got another number in some row."
        )

    def _not_utf8(self) -> DataError:
        place = ""
        with self._open() as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    place = f" in line {number} (byte {error.start + 1} of it is 0x{line[error.start]:02x})"
                    break
        return DataError(
            f"Expected UTF-8 text, got other bytes{place} of {self.path}: save it as UTF-8, for example with `iconv -f latin1 -t utf-8`."
        )

    def _expect_closed_quotes(self) -> None:
        with self._open() as file:
            quotes = sum(block.count(b'"') for block in iter(lambda: file.read(2**22), b""))
        if quotes % 2:
            msg = f"Expected each quotation mark in {self.path} closed, got one that is open to the end of the file: close it."
            raise DataError(msg)


def expect_names(names: tuple[str, ...], path: Path) -> None:
    """Each column has a name of its own.

    Raises:
        DataError: a name is empty or stands twice, or is the one that is reserved.
    """
    empty = [str(i) for i, name in enumerate(names, 1) if not name]
    if empty:
        msg = f"Expected a name for each column of {path}, got none for column {', '.join(empty[:5])} of {len(names)}: name it in the header."
        raise DataError(msg)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        msg = f"Expected each column name of {path} once, got {listed(twice)} more than once: rename all but one."
        raise DataError(msg)
    if "__row" in names:
        msg = f"Expected no column named '__row' in {path}, which is reserved: rename it."
        raise DataError(msg)
