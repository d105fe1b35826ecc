"""Batches as users write them."""

from __future__ import annotations

import pytest
import torch

from abi.errors import UsageError
from abi.execution.batch import BatchSpec, parse_batch


def test_several_tensors_with_types_shapes_and_bounds():
    batch = parse_batch("input_ids=i64[B,64]<30522,labels=i64[B]<2, x = f32[B, 3, 4]")
    made = batch.make(5)
    assert {name: (tuple(t.shape), t.dtype) for name, t in made.items()} == {
        "input_ids": ((5, 64), torch.int64),
        "labels": ((5,), torch.int64),
        "x": ((5, 3, 4), torch.float32),
    }
    assert 0 <= int(made["labels"].min()) <= int(made["labels"].max()) < 2
    assert batch.row_bytes == 64 * 8 + 8 + 12 * 4
    assert BatchSpec.from_json(batch.to_json()) == batch


def test_rows_may_stand_anywhere_in_the_shape():
    assert parse_batch("x=bf16[7,B,2]").make(3)["x"].shape == (7, 3, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "name at least one tensor"),
        ("x=f32[B,2],", "no comma behind the last"),
        ("x", "write name=type"),
        ("x=f32(B,2)", "write name=type"),
        ("x=f31[B,2]", "Expected a type of f64, f32"),
        ("x=f32[128]", "Expected B once"),
        ("x=f32[B,B]", "Expected B once"),
        ("x=f32[B,0]", "got '0'"),
        ("x=f32[B,-3]", "got '-3'"),
        ("x=f32[B,two]", "got 'two'"),
        ("x=i64[B]<0", "a bound of 'x'"),
        ("x=f32[B]<3", "a bound on integers alone"),
        ("x=f32[B],x=f32[B]", "once, got 'x' twice"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(text, said):
    with pytest.raises(UsageError, match=r"^Expected [^\n]*, got [^\n]*: [^\n]*\.$") as caught:
        parse_batch(text)
    assert said in str(caught.value)
