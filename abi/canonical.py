"""Canonical JSON, RFC 8785: what `rfc8785` writes, several times faster.

A run's values hold every feature several times over, so that on wide tables their canonical form took 40% of a run. A value
within a value is written once (`abi.values`), keys of equal objects are sorted once, strings are escaped by the standard
library's C code, and what is rare (floats with an exponent) is left to the library, whose bytes these are in every case.
"""

from __future__ import annotations

import functools
import math
from json.encoder import encode_basestring
from typing import Any, Final

import rfc8785

EXACT: Final = 2**53 - 1
"""The largest integer that every reader of JSON keeps."""


class Written(str):
    """Canonical JSON that is written already: it goes in as it is, and not as a string."""

    __slots__ = ()


def dumps(plain: Any) -> bytes:
    """RFC 8785 bytes of plain JSON types, and of what is `Written` among them.

    Raises:
        rfc8785.CanonicalizationError: there is NaN, an infinity, an integer past 2^53, half of a surrogate pair, a key that is
            no string or a type that JSON does not have.
    """
    try:
        return _text(plain).encode()
    except UnicodeEncodeError as error:
        msg = f"expected text, got half of a surrogate pair at {error.start}"
        raise rfc8785.CanonicalizationError(msg) from None


def _text(value: Any) -> str:  # noqa: PLR0911 - one case per type
    kind = type(value)
    if kind is str:
        return str(encode_basestring(value))
    if kind is float:
        return _number(value)
    if kind is dict:
        return "{" + ",".join([label + _text(value[key]) for key, label in _labels(tuple(value))]) + "}"
    if kind is list or kind is tuple:
        return "[" + ",".join([_text(one) for one in value]) + "]"
    if kind is Written:
        return str(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int and -EXACT <= value <= EXACT:
        return str(value)
    return rfc8785.dumps(value).decode()


def _number(value: float) -> str:
    if value == 0:
        return "0"
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    if "e" in text or not math.isfinite(value):
        return rfc8785.dumps(value).decode()
    return text


@functools.lru_cache(maxsize=256)
def _labels(keys: tuple[Any, ...]) -> tuple[tuple[str, str], ...]:
    """Keys in the order of their UTF-16 units, each with how it is written."""
    if not all(isinstance(key, str) for key in keys):
        rfc8785.dumps(dict.fromkeys(keys))  # refuses them
    ordered = sorted(keys) if all(map(str.isascii, keys)) else sorted(keys, key=lambda key: key.encode("utf-16-be"))
    return tuple((key, encode_basestring(key) + ":") for key in ordered)
