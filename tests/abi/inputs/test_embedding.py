"""A pretrained vector as a feature of the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from abi.data.columns import Codes
from abi.inputs import embedding
from abi.inputs.embedding import Scale, VectorEncoder, encode, learn_scale
from abi.inputs.kind import Sizes
from abi.problem import Feature, Pretrained

ENCODER = Pretrained(
    sha256="0" * 64,
    dimensions=384,
    pooling="mean",
    normalise=True,
    max_tokens=128,
    parameters=22_000_000,
    matrices=10_000_000,
)
FEATURE = Feature(name="text:encoder", column="text", kind="embedding", distinct=9, missing_share=0.0, encoder=ENCODER)


def _codes(*codes: int) -> Codes:
    vectors = np.array([[1.0, 5.0], [3.0, 5.0], [100.0, 5.0]], np.float32)
    return Codes(np.array(codes, np.int32), ("one", "three", "unused"), vectors)


def test_a_width_costs_the_linear_layer() -> None:
    rung = embedding.step(FEATURE, 16, Sizes(bins=0))
    assert rung.encoder_parameters == 384 * 16 + 16
    built = VectorEncoder(384, 16)
    assert sum(p.numel() for p in built.parameters()) == rung.encoder_parameters
    assert [r.width for r in embedding.rungs(FEATURE, Sizes(bins=0), True)] == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]


def test_rows_are_standardised_by_training_rows() -> None:
    scale = learn_scale("text:encoder", _codes(0, 0, 1, 1, -1))
    assert scale == Scale(feature="text:encoder", mean=(2.0, 5.0), deviation=(1.0, 1.0))  # 5 does not vary
    cells = encode(_codes(1, -1, 0), scale)
    found = cells.vectors.index_select(0, cells.text)
    assert found.tolist() == [[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]
    assert cells.take(torch.tensor([2])).text.tolist() == [0]


@pytest.mark.parametrize("width", [2, 8])
def test_an_embedding_has_the_length_of_a_text(width: int) -> None:
    cells = encode(_codes(0, 1, 1), learn_scale("text:encoder", _codes(0, 1)))
    found = VectorEncoder(2, width).eval()(cells)
    assert found.norm(dim=1).tolist() == pytest.approx([width**0.5] * 3, rel=1e-4)
    assert torch.equal(found[1], found[2])


def test_numbers_are_left_out_in_training_alone() -> None:
    cells = encode(_codes(*[0] * 40), learn_scale("text:encoder", _codes(0, 1)))
    torch.manual_seed(0)
    built = VectorEncoder(2, 3)
    assert len(built.eval()(cells, 0.5).unique(dim=0)) == 1
    assert len(built.train()(cells, 0.5).unique(dim=0)) > 1
