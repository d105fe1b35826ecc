"""JSON form and ids of values."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abi.errors import UsageError
from abi.types import Cost, Envelope, TermScores

PINNED = "10a4e2b5b6c1c4b01608aff5af04e5215c1ed6c8097ac8fc7aad7ca437954a6b"
"""By `sha256sum` of the text in the test, typed by hand."""


def test_the_id_is_the_hash_of_the_rfc_8785_bytes() -> None:
    # keys sorted, no spaces, 1.0 written as 1, 1e-7 as ECMAScript does
    value = Cost(parameters=3, memory_bytes=2, train_time_s=1.0, latency_s=1e-7)
    text = b'{"latency_s":1e-7,"memory_bytes":2,"parameters":3,"train_time_s":1}'
    assert value.canonical() == text
    assert value.id == hashlib.sha256(text).hexdigest()


def test_an_id_that_was_once_given_stays() -> None:
    text = b'{"latency_s":0.002,"memory_bytes":null,"parameters":200000,"train_time_s":600}'
    envelope = Envelope(parameters=200_000, latency_s=0.002, train_time_s=600.0)
    assert envelope.canonical() == text
    assert envelope.id == PINNED


def test_many_numbers_are_packed_as_the_bytes_of_single_floats() -> None:
    value = TermScores(feature="c", texts=2, terms=("a", "b"), rows=(1.0, 2.0), scores=(0.5, -0.0), errors=(0.0, 0.0))
    # 1.0 = 00 00 80 3f, 2.0 = 00 00 00 40, 0.5 = 00 00 00 3f, -0.0 = 00 00 00 80
    plain = value.to_json()
    assert [base64.b64decode(plain[name]).hex() for name in ("rows", "scores")] == [
        "0000803f00000040",
        "0000003f00000080",
    ]
    assert TermScores.from_json(plain) == value


@pytest.mark.parametrize("packed", ["AAAA", "not base64!", "AAAAAAA=", 3, [None]])
def test_what_is_not_packed_floats_is_refused(packed: object) -> None:
    plain = TermScores(feature="c", texts=0, terms=(), rows=(), scores=(), errors=()).to_json()
    with pytest.raises(UsageError, match="Expected a TermScores value"):
        TermScores.from_json(plain | {"rows": packed})


def test_equal_values_have_equal_ids_and_different_ones_do_not() -> None:
    first, second = Envelope(parameters=5), Envelope(parameters=5)
    assert (first, first.id) == (second, second.id)
    assert Envelope(parameters=6).id != first.id
    assert replace(first, parameters=6).id == Envelope(parameters=6).id  # the cached id is not carried over


@given(st.integers(1, 2**53 - 1), st.floats(1e-9, 1e9))
def test_any_cost_survives_json(parameters: int, seconds: float) -> None:
    value = Cost(parameters=parameters, memory_bytes=0, train_time_s=seconds, latency_s=seconds)
    assert Cost.from_json(json.loads(json.dumps(value.to_json()))).id == value.id
