"""The raw file: its hashes and its format."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from abi.errors import DataError, UsageError
from abi.values import Value

Format = Literal["csv", "csv.gz", "parquet"]

_BLOCK_BYTES = 4 * 2**20
_HEAD_BYTES = 4096
_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
# what people pass by mistake, by its first bytes
_OTHERS = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"%PDF": "a PDF",
    b"ARROW1": "an Arrow file",
    b"ORC": "an ORC file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
_REMEDY = "save the table as CSV (UTF-8, also gzip) or Parquet"


@dataclass(frozen=True, kw_only=True)
class FileHash(Value):
    """What identifies a file's content."""

    sha256: str
    md5: str
    size_bytes: int


def hash_file(path: Path) -> FileHash:
    """SHA-256, MD5 (which DVC addresses by) and size, in one read.

    Raises:
        UsageError: there is no such file, or it is a folder or may not be read.
    """
    _expect_file(path)
    sha256, md5, size_bytes = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            sha256.update(block)
            md5.update(block)
            size_bytes += len(block)
    return FileHash(sha256=sha256.hexdigest(), md5=md5.hexdigest(), size_bytes=size_bytes)


def format_of(path: Path) -> Format:
    """The format that the content shows, whatever the file is called.

    Raises:
        UsageError: there is no such file, or it is a folder or may not be read.
        DataError: it is empty, or neither CSV nor Parquet.
    """
    _expect_file(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        msg = f"Expected a table in {path}, got an empty file (0 bytes): {_REMEDY}."
        raise DataError(msg)
    if head.startswith(_PARQUET):
        return "parquet"
    if head.startswith(_GZIP):
        _expect_text(path, _gunzip_head(path))
        return "csv.gz"
    _expect_text(path, head)
    return "csv"


def expect_reachable(path: Path) -> None:
    """See that the system can tell what is there, if only nothing.

    Raises:
        UsageError: it cannot: a name that is too long, a link to itself, a folder that is shut.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        msg = f"Expected a readable file at {path}, got: {error.strerror}."
        raise UsageError(msg) from None


def _expect_file(path: Path) -> None:
    expect_reachable(path)
    if path.is_dir():
        msg = f"Expected a file, got the folder {path}: name one CSV or Parquet file in it."
        raise UsageError(msg)
    if path.is_fifo():  # a table is read more than once, and opening one that nobody writes to would wait for ever
        msg = f"Expected a file, got a pipe at {path}: save what it gives to a file first."
        raise UsageError(msg)
    try:
        with path.open("rb"):
            return
    except FileNotFoundError:
        msg = f"Expected a file at {path}, found none: check the path."
    except OSError as error:
        msg = f"Expected a readable file at {path}, got: {error.strerror}."
    raise UsageError(msg)


def _gunzip_head(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            head = file.read1(_HEAD_BYTES)
    except (EOFError, OSError, zlib.error):
        msg = f"Expected a whole gzip file, got {path}, which is cut off or damaged: copy it again from its source."
        raise DataError(msg) from None
    if not head:
        msg = f"Expected a table in {path}, got an empty file inside gzip: {_REMEDY}."
        raise DataError(msg)
    return head


def _expect_text(path: Path, head: bytes) -> None:
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            msg = f"Expected CSV or Parquet, got {what} in {path}: {_REMEDY}."
            raise DataError(msg)
    if b"\0" in head:
        what = "damaged Parquet" if path.suffix == ".parquet" else "binary content"
        msg = f"Expected CSV or Parquet, got {what} in {path}: {_REMEDY}."
        raise DataError(msg)
