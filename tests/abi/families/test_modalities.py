"""Modalities: which there are, how members are divided over them, and what a row is given in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from abi.families.modalities import heard, listeners, shares
from abi.modality import modalities
from abi.problem import Feature, Schema


def _feature(name: str, kind: Any, column: str | None = None) -> Feature:
    return Feature(name=name, column=column or name, kind=kind, distinct=9, missing_share=0.0)


SCHEMA = Schema(
    target="y",
    task="regression",
    classes=(),
    features=(
        _feature("age", "numeric"),
        _feature("review", "text"),
        _feature("photo[1,1]", "region", "photo"),
        _feature("zip", "categorical"),
        _feature("photo[1,2]", "region", "photo"),
    ),
    set_aside=(),
)


def test_the_table_is_one_each_text_and_each_picture_column_another() -> None:
    assert modalities(SCHEMA) == ("table", "review", "photo")


def test_attention_of_a_modality_is_the_sum_of_its_features() -> None:
    np.testing.assert_allclose(shares([0.1, 0.4, 0.2, 0.1, 0.2], SCHEMA), [0.2, 0.4, 0.4])


@pytest.mark.parametrize(
    ("weights", "members", "counts"),
    [
        ([0.2, 0.4, 0.4], 13, [3, 5, 5]),  # one each, then 10 by attention
        ([0.0, 1.0], 4, [1, 3]),
        ([1 / 3, 1 / 3, 1 / 3], 4, [2, 1, 1]),  # the one that is left goes to the first
        ([0.9, 0.1], 2, [1, 1]),
    ],
)
def test_members_are_divided_by_attention(weights: list[float], members: int, counts: list[int]) -> None:
    assert np.bincount(listeners(np.array(weights), members)).tolist() == counts


def test_a_row_is_always_given_something() -> None:
    torch.manual_seed(0)
    kept = heard(20_000, 2, 0.5, torch.device("cpu"))
    assert kept.any(dim=1).all()
    # kept, or both left out and so both given: 0.5 + 0.25
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.01)
