"""Values as text and text as values: one set of rules for files, Parquet strings and frames."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-")
TRUE = ("True", "true", "TRUE")
FALSE = ("False", "false", "FALSE")

TextType = Literal["null", "boolean", "integer", "float", "timestamp", "string"]

_TIMESTAMP = pa.timestamp("us")
_TIMESTAMP_UTC = pa.timestamp("us", "UTC")
_ARROW = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "timestamp": _TIMESTAMP,
    "string": pa.string(),
}

# as arrow reads them; a leading zero makes a code such as 00123 or 0x1F, which is text
_NUMBER = r"^[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?([iI][nN][fF]([iI][nN][iI][tT][yY])?)$"
_LEADING_ZERO = r"^[+-]?0([0-9]+|[xX][0-9a-fA-F]+)$"
_AFTER_ZERO = np.frombuffer(b"0123456789xX", np.uint8)
_INTEGRAL = r"^([+-]?[0-9]+)\.0+$"
_NANOSECONDS = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6})[0-9]{1,3}"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MOMENT = _DATE + r"([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
_EXACT = 2.0**63  # above this a float has no int64 form


def arrow_type(kind: str) -> pa.DataType:
    """The arrow type that a column of that profile type is stored in."""
    return _ARROW.get(kind, pa.string())


def strings(array: pa.Array) -> pa.Array:
    """Any string-like array as plain `string`, trimmed, with the usual spellings of a missing value as nulls."""
    encoded = array if pa.types.is_dictionary(array.type) else array.cast(pa.string()).dictionary_encode()
    return pc.take(tidy(encoded.dictionary.cast(pa.string())), encoded.indices)


def tidy(text: pa.Array) -> pa.Array:
    """Trimmed and composed (NFC), with the usual spellings of a missing value as nulls."""
    text = pc.utf8_trim_whitespace(_composed(text))
    return pc.if_else(pc.is_in(text, pa.array(MISSING)), pa.scalar(None, pa.string()), text)


def _composed(text: pa.Array) -> pa.Array:
    """Letters and their marks as one character where there is one (NFC); arrow's own `utf8_normalize` takes them apart."""
    other = pc.invert(pc.string_is_ascii(text)).fill_null(False)
    values = text.filter(other).to_pylist()
    if all(unicodedata.is_normalized("NFC", value) for value in values):
        return text
    return pc.replace_with_mask(text, other, pa.array([unicodedata.normalize("NFC", v) for v in values], text.type))


def leading_zero(text: pa.Array) -> bool:
    """Whether some value is digits with a leading zero, such as 00123 or 0x1F."""
    if not len(text):
        return False
    _, offsets, data = text.buffers()
    ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    longer = np.flatnonzero(np.diff(ends) > 1)
    if not len(longer):
        return False
    letters = np.frombuffer(data, np.uint8)
    near = longer[letters[ends[longer]] == ord("0")]
    near = near[np.isin(letters[ends[near] + 1], _AFTER_ZERO)]
    return len(near) > 0 and bool(pc.any(is_code(text.take(pa.array(near)))).as_py())


def type_of(text: pa.Array) -> TextType:
    """The narrowest type that all values of tidy `text` fit."""
    seen = pc.unique(text).drop_null()
    if not len(seen):
        return "null"
    if pc.all(pc.is_in(seen, pa.array(TRUE + FALSE))).as_py():
        return "boolean"
    for kind in ("integer", "float", "timestamp"):
        if parse(seen, kind) is not None:
            return kind
    return "string"


def parse(text: pa.Array, kind: str) -> pa.Array | None:
    """`text` as `kind`, or None where some value does not fit. Whole numbers beyond 64 bits fit "float"."""
    if kind == "string":
        return text
    if kind == "boolean":
        known = pc.is_in(text, pa.array(TRUE + FALSE))
        fits = pc.all(pc.or_(known, pc.is_null(text))).as_py()
        return (
            pc.if_else(pc.is_null(text), pa.scalar(None, pa.bool_()), pc.is_in(text, pa.array(TRUE)))
            if fits is not False
            else None
        )
    if kind == "timestamp":
        return timestamps(text)
    try:
        values = text.cast(_ARROW[kind])
    except pa.ArrowInvalid:
        return None
    return None if leading_zero(text) else values


def timestamps(text: pa.Array) -> pa.Array | None:
    """ISO 8601 dates and times, with a zone (then as UTC) or without; None where some value is neither.

    What is finer than a microsecond, as pandas writes it, is cut off.
    """
    for cut in (False, True):
        if cut and not pc.any(pc.match_substring_regex(text, _NANOSECONDS)).as_py():
            return None
        read = pc.replace_substring_regex(text, _NANOSECONDS, r"\1") if cut else text
        for kind in (_TIMESTAMP, _TIMESTAMP_UTC):
            try:
                return read.cast(kind).cast(_TIMESTAMP)
            except pa.ArrowInvalid:
                continue
    return None


def join(left: TextType, right: TextType) -> TextType:
    """The narrowest type that holds both."""
    if right in {left, "null"}:
        return left
    if left == "null":
        return right
    return "float" if {left, right} == {"integer", "float"} else "string"


def is_number(text: pa.Array) -> pa.Array:
    """Which values are numbers (null stays null)."""
    return pc.match_substring_regex(text, _NUMBER)


def is_code(text: pa.Array) -> pa.Array:
    """Which values are digits with a leading zero."""
    return pc.match_substring_regex(text, _LEADING_ZERO)


def numbers(array: pa.Array) -> pa.Array:  # noqa: PLR0911 - one line per type
    """Any array as float64; what is not a number becomes null."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return pc.take(numbers(array.dictionary), array.indices)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return array.cast(pa.float64(), safe=False)
    if pa.types.is_boolean(kind):
        return array.cast(pa.int8()).cast(pa.float64())
    if pa.types.is_temporal(kind):
        stamps = moments(array)
        return pc.divide(stamps.cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)
    if not is_text(kind):
        return pa.nulls(len(array), pa.float64())
    text = strings(array)
    whole = parse(text, "float")
    if whole is not None:
        return whole
    return pc.if_else(is_number(text), text, pa.scalar(None, pa.string())).cast(pa.float64())


def moments(array: pa.Array) -> pa.Array:
    """Any array as timestamps in microseconds (UTC); what is not an ISO date or time becomes null."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return pc.take(moments(array.dictionary), array.indices)
    if pa.types.is_timestamp(kind):
        return array.cast(pa.timestamp("us", kind.tz), safe=False).cast(_TIMESTAMP)
    if pa.types.is_date(kind):
        return array.cast(pa.timestamp("ms")).cast(_TIMESTAMP)
    if not is_text(kind):
        return pa.nulls(len(array), _TIMESTAMP)
    text = strings(array)
    whole = timestamps(text)
    if whole is not None:
        return whole
    encoded = text.dictionary_encode()
    read = [
        None if one is None else one[0].as_py()
        for one in (timestamps(encoded.dictionary[i : i + 1]) for i in range(len(encoded.dictionary)))
    ]
    return pc.take(pa.array(read, _TIMESTAMP), encoded.indices)


def labels(array: pa.Array) -> pa.DictionaryArray:
    """Any array as dictionary-encoded text, the same for equal values whatever type they came in.

    1, 1.0, "1" and "1.0" are "1", 0.1 of single precision and of double are "0.1"; true and "TRUE" are "True"; a moment is
    written as 2026-01-31 10:30:00 (UTC), and midnight as its date.
    """
    encoded = _used(array) if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    named = _named(encoded.dictionary)
    again = named.dictionary_encode()  # two spellings may have become one
    codes = pc.take(again.indices, encoded.indices)
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), again.dictionary)


def _used(array: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same without values that no row has, the others in order of their first row: as plain text is encoded."""
    codes, values = array.indices.dictionary_encode(), array.dictionary
    if pa.types.is_string_view(values.type):  # polars' categories, for which arrow has no `take`
        values = values.cast(pa.string())
    return pa.DictionaryArray.from_arrays(codes.indices, values.take(codes.dictionary))


def _named(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "True", "False")
    if pa.types.is_large_binary(kind) or pa.types.is_binary(kind):  # files, by what they hold
        return pa.array([hashlib.sha256(v).hexdigest()[:16] if v is not None else None for v in values.to_pylist()])
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = values.cast(pa.float64(), safe=False)
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), _EXACT))
        integers = pc.if_else(whole, values, pa.scalar(None, pa.float64())).cast(pa.int64(), safe=False)
        short = values.cast(pa.float32(), safe=False)  # 0.1 in single precision is 0.1 as well
        exact = pc.equal(short.cast(pa.float64()), values)
        return pc.coalesce(
            integers.cast(pa.string()), pc.if_else(exact, short.cast(pa.string()), values.cast(pa.string()))
        )
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _dated(moments(values))
    if not is_text(kind):
        return values.cast(pa.string())
    text = tidy(values.cast(pa.string()))
    text = pc.if_else(
        pc.is_in(text, pa.array(TRUE)), "True", pc.if_else(pc.is_in(text, pa.array(FALSE)), "False", text)
    )
    dates = pc.match_substring_regex(text, _MOMENT)
    if pc.any(dates).as_py():
        text = pc.coalesce(_dated(moments(pc.if_else(dates, text, pa.scalar(None, pa.string())))), text)
    return pc.replace_substring_regex(text, _INTEGRAL, r"\1")


def _dated(stamps: pa.Array) -> pa.Array:
    """Timestamps as text, without what says nothing: zeros of a fraction, midnight."""
    text = stamps.cast(pa.string())
    return pc.replace_substring_regex(pc.replace_substring_regex(text, r"\.0+$", ""), r" 00:00:00$", "")


def respelled(text: pa.Array) -> bool:
    """Whether a value of a column of text would have another label in a file in which all values look like it: 1.10 is 1.1 there."""
    seen = pc.unique(tidy(text.cast(pa.string()))).drop_null()
    figures = seen.filter(pc.and_not(is_number(seen), is_code(seen)))
    return not _named(figures).equals(_named(numbers(figures)))


def is_text(kind: Any) -> bool:
    """Whether an arrow type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
