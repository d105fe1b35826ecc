"""The same bytes as the library's, and the same refusals."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.canonical import dumps

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner), max_leaves=30
)


@settings(max_examples=500)
@given(TREES)
def test_any_plain_value_is_written_as_the_library_writes_it(plain: Any) -> None:
    assert dumps(plain) == rfc8785.dumps(plain)


@settings(max_examples=2000)
@given(st.integers(0, 2**64 - 1))
def test_so_is_a_float_of_any_bits(bits: int) -> None:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    if math.isfinite(value):
        assert dumps([value]) == rfc8785.dumps([value])


@pytest.mark.parametrize(
    "value",
    [0.0, -0.0, 1.0, -1.0, 1e15, 1e16, 1e17, 123456789012345680.0, 1e20, 1e21, 1e22, 0.1, 1e-4, 1e-5, 1.5e-5, 1e-6, 1e-7,
     5e-324, 1.7976931348623157e308, 9007199254740993.0, "\x00\x1f\x7f\"\\/\b\f\n\r\t\u2028\u00e9\U0001f600",
     {"\ue000": 1, "\U00010000": 2, "b": 3, "a": 4, "": 5}, {"a": {}, "b": []}, (1, (2,)), True],
)  # fmt: skip
def test_where_the_two_could_differ_they_do_not(value: Any) -> None:
    assert dumps(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, [math.nan], {"a": math.inf}, 2**53, -(2**53), {1: 2}, {"a": {None: 1}}, {1, 2}, object(), "\ud800"],
)  # fmt: skip
def test_what_has_no_canonical_form_is_refused_by_both(value: Any) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        rfc8785.dumps(value)
    with pytest.raises(rfc8785.CanonicalizationError):
        dumps(value)


def test_half_of_a_pair_in_a_key_is_refused_too() -> None:
    with pytest.raises(rfc8785.CanonicalizationError, match="surrogate"):
        dumps({"\ud800": 1})
