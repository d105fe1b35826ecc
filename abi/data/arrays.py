"""An .npz archive of arrays as a table: one array of pictures, and one of a value per picture for each other column."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from abi.errors import DataError, clip
from abi.media.cells import MEDIUM

ROWS: Final = 1024
PICTURE: Final = "picture"
PLAIN, CHANNELS_LAST = 3, 4
"""Dimensions of an array of grey pictures, and of pictures with channels."""
MOST_BYTES: Final = 8 * 2**30
"""Arrays are held in memory."""
_VALUES: Final = "biufUSM"
_BITS: Final = 255


def pictures_of(path: Path) -> Iterator[pa.Table]:
    """Blocks of rows: the column `picture`, and the arrays of one value per picture under their names.

    Raises:
        DataError: it cannot be read, needs pickle, or its arrays do not fit each other.
    """
    arrays = _loaded(path)
    pictures = {name: a for name, a in arrays.items() if a.ndim in (PLAIN, CHANNELS_LAST)}
    values = {name: a.reshape(-1) if a.shape[1:] == (1,) else a for name, a in arrays.items() if name not in pictures}
    fitting = all(a.ndim == 1 and a.dtype.kind in _VALUES for a in values.values())
    if len(pictures) != 1 or not fitting or len({len(a) for a in (*pictures.values(), *values.values())}) != 1:
        shapes = ", ".join(f"{clip(name)} {a.shape} of {a.dtype}" for name, a in arrays.items())
        msg = f"Expected one array of pictures (n, height, width[, channels]) and arrays of n values in {path}, got {shapes or 'none'}: save those alone with numpy.savez."
        raise DataError(msg)
    whole = _eight_bits(next(iter(pictures.values())), path)
    columns = {name: _column(a) for name, a in values.items()}
    fields = [pa.field(PICTURE, pa.large_binary(), metadata={MEDIUM: "image"})]
    schema = pa.schema([*fields, *(pa.field(name, column.type) for name, column in columns.items())])
    for start in range(0, len(whole), ROWS):
        files = pa.array([_png(one) for one in whole[start : start + ROWS]], pa.large_binary())
        yield pa.Table.from_arrays([files, *(c.slice(start, ROWS) for c in columns.values())], schema=schema)


def _loaded(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > MOST_BYTES:
            msg = f"Expected arrays of at most {MOST_BYTES // 2**30} GiB in {path}, got {size / 2**30:,.0f} GiB: give the pictures as files in a folder."
            raise DataError(msg)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except DataError:
        raise
    except Exception as error:  # damaged content may break a reader anywhere
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"Expected arrays of numbers or text in {path}, got: {reason.rstrip('.')}. Save them with numpy.savez, without objects."
        raise DataError(msg) from None


def _column(values: np.ndarray) -> pa.Array:
    return pa.array(
        np.char.decode(values, "utf-8", "replace").tolist() if values.dtype.kind == "S" else values.tolist()
    )


def _eight_bits(pictures: np.ndarray, path: Path) -> np.ndarray:
    """Pixels as 0 to 255; fractions of which none is above 1 are taken as 0 to 1. Channels may come first."""
    channels = (1, 3)
    if pictures.ndim == CHANNELS_LAST and pictures.shape[-1] not in channels and pictures.shape[1] in channels:
        pictures = pictures.transpose(0, 2, 3, 1)
    if not pictures.size:
        msg = f"Expected pictures in {path}, got none: its array has the shape {pictures.shape}."
        raise DataError(msg)
    if pictures.ndim == CHANNELS_LAST and pictures.shape[-1] not in channels:
        msg = f"Expected pictures of 1 or 3 channels in {path}, got shape {pictures.shape}: save them as (n, height, width, channels)."
        raise DataError(msg)
    if pictures.ndim == CHANNELS_LAST and pictures.shape[-1] == 1:
        pictures = pictures[..., 0]
    if pictures.dtype.kind not in "biuf":
        msg = f"Expected pixels as numbers in {path}, got {pictures.dtype}."
        raise DataError(msg)
    low, high = float(pictures.min()), float(pictures.max())  # NaN where there is one
    if not (low >= 0 and high <= _BITS):
        msg = f"Expected pixels from 0 to 1 or 0 to 255 in {path}, got {low:g} to {high:g}: scale them first."
        raise DataError(msg)
    if pictures.dtype.kind in "iu":
        return pictures.astype(np.uint8, copy=False)
    return np.asarray(np.round(pictures * (_BITS if high <= 1 else 1.0)), np.uint8)


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image  # noqa: PLC0415 - tables do not need it

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
