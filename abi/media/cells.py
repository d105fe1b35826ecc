"""Cells that hold files: binary, a structure with a field `bytes` (as Hugging Face writes), or base64 text (as JSON has it)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from abi.errors import DataError, clip
from abi.problem import Medium

MEDIUM: Final = b"abi.medium"
"""Key in the metadata of an Arrow field: what its files are meant to be."""
MISSING: Final = ("", "NA", "NaN", "nan", "null", "None")
NOUNS: Final = {"image": "images", "audio": "sounds"}
_SHOWN: Final = 40


def holds_files(kind: pa.DataType) -> bool:
    """Whether cells of that type may be files as they are."""
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_binary(field.type) for field in kind)
    return _is_binary(kind)


def files_of(cells: pa.Array) -> pa.Array:
    """The files' content; of a structure its field `bytes`."""
    if pa.types.is_struct(cells.type):
        inner = cells.field("bytes")
        cells = pc.if_else(cells.is_valid(), inner, pa.scalar(None, inner.type))
    if pa.types.is_fixed_size_binary(cells.type):
        cells = cells.cast(pa.binary())
    return cells.cast(pa.large_binary())


def contents(cells: pa.Array, column: str, medium: Medium) -> pa.Array:
    """The files in any cells that may hold some. Text is taken as base64; it is never a path.

    Raises:
        DataError: the cells hold something else.
    """
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pc.is_null(cells, nan_is_null=True).sum().as_py() == len(cells):  # of whatever type
        return pa.nulls(len(cells), pa.large_binary())
    if holds_files(cells.type):
        return files_of(cells)
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type) or pa.types.is_string_view(cells.type):
        return pa.array([_from_text(cell.as_py(), column, medium) for cell in cells], pa.large_binary())
    raise _strange(column, medium, str(cells.type))


def as_text(content: bytes) -> str:
    """A file as JSON can have it."""
    return base64.b64encode(content).decode("ascii")


def _from_text(text: str | None, column: str, medium: Medium) -> bytes | None:
    if text is None or text.strip() in MISSING:
        return None
    whole = "".join(text.partition("base64,")[2].split()) if text.startswith("data:") else "".join(text.split())
    try:
        return base64.b64decode(whole, validate=True)
    except (binascii.Error, ValueError):
        raise _strange(column, medium, repr(clip(text, _SHOWN))) from None


def _strange(column: str, medium: Medium, got: str) -> DataError:
    return DataError(
        f"Expected {NOUNS[medium]} in column {clip(column)!r}, as the files' bytes or as base64 text, got {got}: give what the files hold, not their names."
    )


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))
        or kind == pa.binary_view()
    )
