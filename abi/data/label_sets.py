"""A target of several labels per row: lists in a column, or text with a separator.

Lists are kept as JSON text in the canonical table, sorted and without repeats, so that equal sets are equal text. A missing
cell is a missing target; an empty list, or the separator alone, is a row without labels.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from abi.data.text import is_text, labels, strings
from abi.errors import DataError, clip

EMPTY = "[]"


def is_list(kind: pa.DataType) -> bool:
    """Whether an arrow type holds lists of labels: text, whole numbers or booleans."""
    types = pa.types
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return False
    value = kind.value_type
    value = value.value_type if types.is_dictionary(value) else value
    return is_text(value) or types.is_integer(value) or types.is_boolean(value) or types.is_null(value)


def as_text(array: pa.Array) -> pa.Array:
    """Lists as canonical text; null stays null, and missing labels inside a list are left out."""
    if not len(array):
        return pa.array([], pa.string())
    flat = labels(array.flatten())
    names = flat.dictionary.to_pylist()
    codes = flat.indices.to_pylist()
    found: list[str | None] = []
    place = 0
    for length in pc.list_value_length(array).to_pylist():
        if length is None:
            found.append(None)
            continue
        mine = {names[code] for code in codes[place : place + length] if code is not None}
        found.append(json.dumps(sorted(mine), ensure_ascii=False) if mine else EMPTY)
        place += length
    return pa.array(found, pa.string())


def read_sets(
    array: pa.Array, separator: str | None
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], tuple[tuple[str, ...], ...]]:
    """(number of each row's set, -1 where it is missing; the distinct sets, each sorted).

    Args:
        array: lists, their canonical text, or text with a separator.
        separator: between labels; None for lists.
    """
    text = as_text(array) if is_list(array.type) else array
    encoded = (strings(text) if is_text(text.type) else labels(text).dictionary_decode()).dictionary_encode()
    values = encoded.dictionary.to_pylist()
    sets = _sets_of_lists(values) if separator is None else tuple(_parts(value, separator) for value in values)
    codes = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    return codes, sets


def indicators(sets: Sequence[Iterable[str]], classes: Sequence[str]) -> Bool[np.ndarray, "sets classes"]:
    """Which of `classes` each set has; others are not looked at."""
    place = {name: i for i, name in enumerate(classes)}
    found = np.zeros((len(sets), len(classes)), dtype=bool)
    for row, names in enumerate(sets):
        found[row, [place[name] for name in names if name in place]] = True
    return found


def count_labels(array: pa.Array, separator: str | None) -> Counter[str]:
    """Rows of each label."""
    codes, sets = read_sets(array, separator)
    counts: Counter[str] = Counter()
    for names, rows in zip(sets, np.bincount(codes[codes >= 0], minlength=len(sets)), strict=True):
        counts.update(dict.fromkeys(names, int(rows)))
    return counts


def _parts(value: str | None, separator: str) -> tuple[str, ...]:
    return () if value is None else tuple(sorted({part.strip() for part in value.split(separator)} - {""}))


def _sets_of_lists(values: Sequence[str | None]) -> tuple[tuple[str, ...], ...]:
    """Lists in JSON; labels that are not text are spelled as `labels` does."""
    lists = [[] if value is None else _listed(value) for value in values]
    texts = list({name for names in lists for name in names if isinstance(name, str)})
    numbers = list({name for names in lists for name in names if isinstance(name, float)})
    spelled: dict[str | float, str | None] = {
        **dict(zip(texts, labels(pa.array(texts, pa.string())).dictionary_decode().to_pylist(), strict=True)),
        **dict(zip(numbers, labels(pa.array(numbers, pa.float64())).dictionary_decode().to_pylist(), strict=True)),
    }
    found = ({spelled[name] if isinstance(name, str | float) else str(name) for name in names} for names in lists)
    return tuple(tuple(sorted(name for name in names if name is not None)) for names in found)


def _listed(value: str) -> list[str | float | int]:
    """Labels of a list in JSON, without nulls."""
    try:
        names = json.loads(value)
    except ValueError:
        names = None
    if not isinstance(names, list) or any(isinstance(name, list | dict) for name in names):
        msg = f"Expected lists of labels, as in the training data, got {clip(value)!r}: write them alike."
        raise DataError(msg)
    return [name for name in names if name is not None]
